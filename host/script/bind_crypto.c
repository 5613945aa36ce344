/* bind_crypto.c: what tidemill.crypto has of OpenSSL; lua/tidemill/crypto.lua adds the rest.
 *
 * crypto.sha256(data), crypto.hmac(key, data) -> 32 bytes (HMAC-SHA256); crypto.hex(data) makes them readable
 * crypto.base64(data), crypto.base64url(data) -> text; crypto.unbase64(text), crypto.unbase64url(text),
 *     crypto.unhex(text) -> data; they raise on wrong text. base64url is RFC 4648's, without padding
 * crypto.sign("RS256" or "ES256", private key as PEM, data) -> a signature as RFC 7518 has it
 * crypto.uuid() -> a random UUID (version 4)
 * crypto.equal(a, b) -> boolean, in a time that does not depend on where they differ */
#include <lauxlib.h>
#include <lua.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/base64.h"
#include "script/internal.h"

#define KEY_BYTES_MAX (64u << 10)
#define SIGNATURE_BYTES_MAX 2048 /* of an RSA key of 16,384 bits */
#define ES256_HALF 32

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

static int crypto_base64url(lua_State *L)
{
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    struct buf *text = script_buf(L);
    base64_write(text, data, size);
    while (text->size && text->data[text->size - 1] == '=')
        text->size--;
    for (size_t i = 0; i < text->size; i++)
        text->data[i] = text->data[i] == '+' ? '-' : text->data[i] == '/' ? '_' : text->data[i];
    lua_pushlstring(L, text->data ? text->data : "", text->size);
    return 1;
}

/* Padding may stand there. */
static int crypto_unbase64url(lua_State *L)
{
    size_t size, decoded = 0;
    luaL_Buffer buffer;
    const char *data = luaL_checklstring(L, 1, &size);
    struct buf *text = script_buf(L);
    buf_add(text, data, size);
    while (text->size && text->data[text->size - 1] == '=')
        text->size--;
    bool padded = text->size < size;
    bool ok = !padded || size % 4 == 0;
    for (size_t i = 0; i < text->size; i++) {
        ok = ok && text->data[i] != '+' && text->data[i] != '/' && text->data[i] != '=';
        text->data[i] = text->data[i] == '-' ? '+' : text->data[i] == '_' ? '/' : text->data[i];
    }
    while (text->size % 4)
        buf_add_char(text, '=');
    char *out = luaL_buffinitsize(L, &buffer, BASE64_DECODED_MAX(text->size));
    luaL_argcheck(L, ok && base64_decode(text->data, text->size, out, &decoded), 1, "base64url expected");
    luaL_pushresultsize(&buffer, decoded);
    return 1;
}

/* ---- signatures ---- */

/* A key with a passphrase is none that can be read here: nobody is asked for it. */
static int no_passphrase(char *text, int size, int writing, void *user)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static EVP_PKEY *read_key(const char *pem, size_t size)
{
    BIO *bio = size <= KEY_BYTES_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

/* OpenSSL's form of it holds the two numbers as ASN.1; RFC 7518, 3.4: one behind the other, 32 bytes each. */
static bool plain_ecdsa(unsigned char *signature, size_t *size)
{
    const unsigned char *at = signature;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)*size);
    unsigned char plain[2 * ES256_HALF];
    bool ok = parts && BN_bn2binpad(ECDSA_SIG_get0_r(parts), plain, ES256_HALF) == ES256_HALF &&
              BN_bn2binpad(ECDSA_SIG_get0_s(parts), plain + ES256_HALF, ES256_HALF) == ES256_HALF;
    if (ok)
        memcpy(signature, plain, sizeof plain);
    *size = sizeof plain;
    ECDSA_SIG_free(parts);
    return ok;
}

static bool is_p256(const EVP_PKEY *key)
{
    char name[32];
    size_t size;
    return EVP_PKEY_get_group_name(key, name, sizeof name, &size) == 1 && strcmp(name, "prime256v1") == 0;
}

static int crypto_sign(lua_State *L)
{
    static const char *const algorithms[] = {"RS256", "ES256", NULL};
    bool ecdsa = luaL_checkoption(L, 1, NULL, algorithms) == 1;
    size_t pem_size, size, signature_size = 0;
    const char *pem = luaL_checklstring(L, 2, &pem_size), *data = luaL_checklstring(L, 3, &size);
    luaL_Buffer buffer;
    unsigned char *signature = (unsigned char *)luaL_buffinitsize(L, &buffer, SIGNATURE_BYTES_MAX);
    EVP_PKEY *key = read_key(pem, pem_size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const char *problem = NULL;
    if (!key)
        problem = "a private key as PEM expected, without a passphrase";
    else if (EVP_PKEY_get_base_id(key) != (ecdsa ? EVP_PKEY_EC : EVP_PKEY_RSA) || (ecdsa && !is_p256(key)) ||
             EVP_PKEY_get_size(key) > SIGNATURE_BYTES_MAX)
        problem = ecdsa ? "ES256 signs with a key of the curve P-256" : "RS256 signs with an RSA key";
    signature_size = SIGNATURE_BYTES_MAX;
    if (!problem &&
        (EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
         EVP_DigestSign(context, signature, &signature_size, (const unsigned char *)data, size) != 1 ||
         (ecdsa && !plain_ecdsa(signature, &signature_size))))
        problem = "OpenSSL cannot sign with this key";
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_clear_error();
    luaL_argcheck(L, !problem, 2, problem);
    luaL_pushresultsize(&buffer, signature_size);
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
    static const luaL_Reg functions[] = {{"sha256", crypto_sha256},
                                         {"hmac", crypto_hmac},
                                         {"hex", crypto_hex},
                                         {"unhex", crypto_unhex},
                                         {"base64", crypto_base64},
                                         {"unbase64", crypto_unbase64},
                                         {"uuid", crypto_uuid},
                                         {"equal", crypto_equal},
                                         {"base64url", crypto_base64url},
                                         {"unbase64url", crypto_unbase64url},
                                         {"sign", crypto_sign},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
