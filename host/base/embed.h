/* embed.h: files of the tree carried inside the binary. */
#ifndef TIDEMILL_BASE_EMBED_H
#define TIDEMILL_BASE_EMBED_H

/* The file's bytes as name_start .. name_end. Paths are as seen from the top of the tree, where make runs;
 * the Makefile says on which files an object depends. */
#define EMBED(name, path)                                 \
    __asm__(".section .rodata\n"                          \
            ".global " #name "_start\n" #name "_start:\n" \
            ".incbin \"" path "\"\n"                      \
            ".global " #name "_end\n" #name "_end:\n"     \
            ".byte 0\n"                                   \
            ".previous\n");                               \
    extern const char name##_start[], name##_end[]

#endif
