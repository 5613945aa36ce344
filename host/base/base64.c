/* base64.c: OpenSSL's block functions, which know nothing of padding. */
#include "base/base64.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <string.h>

bool base64_decode(const char *text, size_t size, void *bytes, size_t *decoded)
{
    *decoded = 0;
    if (size % 4 != 0)
        return false;
    if (!size)
        return true;
    const char *padding = memchr(text, '=', size);
    if (padding && (padding < text + size - 2 || text[size - 1] != '='))
        return false;
    for (size_t i = 0; i < size; i++) /* it takes blanks and more at the ends */
        if (!isalnum((unsigned char)text[i]) && text[i] != '+' && text[i] != '/' && text[i] != '=')
            return false;
    int count = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)size);
    if (count < 0)
        return false;
    /* the padding is decoded as zeros */
    *decoded = (size_t)count - (text[size - 1] == '=') - (text[size - 1] == '=' && text[size - 2] == '=');
    return true;
}

void base64_write(struct buf *out, const void *bytes, size_t size)
{
    buf_reserve(out, (size + 2) / 3 * 4 + 1);
    out->size += (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->size, bytes, (int)size);
}
