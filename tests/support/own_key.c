/* Let a server sign with the key of a file, whatever key it gives to OpenSSL.
 *
 * For OpenSMTPD 6.8, whose sessions have no key of their own, which does not work with OpenSSL 3
 * (opensmtpd_host.py).  OWN_KEY is read before the process gives up its rights.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Of OpenSSL, whose headers need not be here */
extern void *PEM_read_PrivateKey(FILE *file, void **key, void *callback, void *argument);

static void *own;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("OWN_KEY");
    FILE *file = path == NULL ? NULL : fopen(path, "r");

    if (file == NULL)
        return;
    own = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
}

int SSL_CTX_use_PrivateKey(void *context, void *given)
{
    int (*use)(void *, void *) = (int (*)(void *, void *))dlsym(RTLD_NEXT, "SSL_CTX_use_PrivateKey");

    return use(context, own == NULL ? given : own);
}
