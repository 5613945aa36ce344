/* bind_crypto.c: tidemill.crypto, on OpenSSL.
 *
 * crypto.sha256(data), crypto.hmac(key, data) -> 32 bytes (HMAC-SHA256); crypto.hex(data) makes them readable
 * crypto.base64(data) -> text; crypto.unbase64(text) -> data; crypto.unhex(text) -> data; both raise on wrong
 * text crypto.uuid() -> a random UUID (version 4) crypto.equal(a, b) -> boolean, in a time that does not
 * depend on where they differ */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/base64.h"
#include "script/internal.h"

static int crypto_sha256(lua_State *L)
{
    unsigned char digest[32];
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    EVP_Digest(data, size, digest, NULL, EVP_sha256(), NULL);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

static int crypto_hmac(lua_State *L)
{
    unsigned char digest[32];
    size_t key_size, size;
    const char *key = luaL_checklstring(L, 1, &key_size), *data = luaL_checklstring(L, 2, &size);
    HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)data, size, digest, NULL);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

static int crypto_hex(lua_State *L)
{
    size_t size;
    luaL_Buffer buffer;
    const char *data = luaL_checklstring(L, 1, &size);
    hex_write(luaL_buffinitsize(L, &buffer, size * 2), data, size);
    luaL_pushresultsize(&buffer, size * 2);
    return 1;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int crypto_unhex(lua_State *L)
{
    size_t size;
    luaL_Buffer buffer;
    const char *text = luaL_checklstring(L, 1, &size);
    luaL_argcheck(L, size % 2 == 0, 1, "an even number of hex digits expected");
    for (size_t i = 0; i < size; i++)
        luaL_argcheck(L, hex_digit(text[i]) >= 0, 1, "not hex");
    char *out = luaL_buffinitsize(L, &buffer, size / 2);
    for (size_t i = 0; i < size; i += 2)
        *out++ = (char)((hex_digit(text[i]) & 15) << 4 | (hex_digit(text[i + 1]) & 15));
    luaL_pushresultsize(&buffer, size / 2);
    return 1;
}

static int crypto_base64(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    struct buf *text = script_buf(L);
    base64_write(text, data, size);
    lua_pushlstring(L, text->data, text->size);
    return 1;
}

static int crypto_unbase64(lua_State *L)
{
    size_t size, decoded;
    luaL_Buffer buffer;
    const char *text = luaL_checklstring(L, 1, &size);
    char *out = luaL_buffinitsize(L, &buffer, BASE64_DECODED_MAX(size));
    luaL_argcheck(L, base64_decode(text, size, out, &decoded), 1, "base64 expected");
    luaL_pushresultsize(&buffer, decoded);
    return 1;
}

static int crypto_uuid(lua_State *L)
{
    unsigned char b[16];
    char text[37];
    if (RAND_bytes(b, sizeof b) != 1)
        return luaL_error(L, "the system gives no random bytes");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    lua_pushstring(L, text);
    return 1;
}

static int crypto_equal(lua_State *L)
{
    size_t a_size, b_size;
    const char *a = luaL_checklstring(L, 1, &a_size), *b = luaL_checklstring(L, 2, &b_size);
    lua_pushboolean(L, a_size == b_size && CRYPTO_memcmp(a, b, a_size) == 0);
    return 1;
}

int bind_crypto(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"sha256", crypto_sha256}, {"hmac", crypto_hmac},     {"hex", crypto_hex},
        {"unhex", crypto_unhex},   {"base64", crypto_base64}, {"unbase64", crypto_unbase64},
        {"uuid", crypto_uuid},     {"equal", crypto_equal},   {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
