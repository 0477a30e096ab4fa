/* Instead of Apple's header, for checks only: what SQLCipher uses. */
#include <stddef.h>

typedef const struct __SecRandom *SecRandomRef;

extern const SecRandomRef kSecRandomDefault;

int SecRandomCopyBytes(SecRandomRef generator, size_t count, void *bytes);
