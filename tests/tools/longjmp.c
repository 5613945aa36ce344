/*
 * For ThreadSanitizer alone: Debian's Lua is built with _FORTIFY_SOURCE and leaves by __longjmp_chk, which
 * ThreadSanitizer does not know: of every error and every yield it keeps the frames that were left, until
 * each allocation's call stack has thousands of them and fills all memory. So it is sent through the longjmp
 * that it knows.
 */
#include <setjmp.h>

_Noreturn void __longjmp_chk(jmp_buf environment, int value);

_Noreturn void __longjmp_chk(jmp_buf environment, int value)
{
    longjmp(environment, value);
}
