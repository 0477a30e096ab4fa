/* Instead of Apple's header, for checks only: what SQLCipher uses. */
#include <stdint.h>

typedef const void *CFTypeRef;
typedef const struct __CFString *CFStringRef;
typedef struct __CFBundle *CFBundleRef;

#define CFSTR(text) ((CFStringRef)__builtin___CFStringMakeConstantString(text))
#define kCFStringEncodingUTF8 0x08000100

extern const CFStringRef kCFBundleVersionKey;

CFBundleRef CFBundleGetBundleWithIdentifier(CFStringRef name);
CFTypeRef CFBundleGetValueForInfoDictionaryKey(CFBundleRef bundle, CFStringRef key);
const char *CFStringGetCStringPtr(CFStringRef text, uint32_t encoding);
