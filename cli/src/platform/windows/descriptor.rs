//! Security descriptors: owner and access list of a file.
#![expect(unsafe_code, reason = "Windows passes security descriptors as pointers only")]

use std::io;
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, ConvertStringSidToSidW,
    GetNamedSecurityInfoW, SDDL_REVISION_1, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorDacl,
    GetTokenInformation, INHERIT_ONLY_ACE, LookupAccountSidW, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY,
    TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::wide;

/// SYSTEM, Administrators, TrustedInstaller, and the two that stand for the owner.
const SYSTEM: [&str; 5] = [
    "S-1-5-18",
    "S-1-5-32-544",
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
    "S-1-3-0",
    "S-1-3-4",
];
const EVERYONE: &str = "S-1-1-0";
/// `ACCESS_ALLOWED_ACE_TYPE`.
const ALLOWED: u8 = 0;
/// Object, compound and callback entries, which allow in other forms. None belongs on these files.
const ALLOWED_OTHERWISE: [u8; 4] = [4, 5, 9, 11];
/// Rights to write, add or delete files, and to change owner or list, each also in its generic form.
const WRITE: u32 = 0x0002 | 0x0004 | 0x0040 | 0x0001_0000 | 0x0004_0000 | 0x0008_0000 | 0x5000_0000;
/// The right to read data or list a directory, also in its generic form.
const READ: u32 = 0x0001 | 0x8000_0000;
/// A SID has at most 184 characters, a name 256.
const MAX_TEXT: usize = 512;

/// The owner and the access list of a file.
pub(super) struct Descriptor {
    owner: PSID,
    list: *mut ACL,
    memory: PSECURITY_DESCRIPTOR,
}

impl Descriptor {
    /// Follows links: callers refuse them before.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = wide(path);
        let (mut owner, mut list, mut memory) = (null_mut(), null_mut(), null_mut());
        // SAFETY: the path ends with a zero; the three variables live until the call returns.
        let error = unsafe {
            GetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                &raw mut list,
                null_mut(),
                &raw mut memory,
            )
        };
        check_code(error)?;
        Ok(Self { owner, list, memory })
    }

    /// The SID of the owner.
    pub(super) fn owner(&self) -> io::Result<String> {
        text(self.owner)
    }

    /// Whether there is a list. Without one, everyone has every right.
    pub(super) fn has_list(&self) -> bool {
        !self.list.is_null()
    }

    /// The SIDs of others that may write.
    pub(super) fn may_write(&self) -> io::Result<Vec<String>> {
        self.allowed(WRITE)
    }

    /// The SIDs of others that may read or write.
    pub(super) fn may_read_or_write(&self) -> io::Result<Vec<String>> {
        self.allowed(READ | WRITE)
    }

    /// The SIDs, apart from this user and the system, that the list allows any of these rights.
    fn allowed(&self, rights: u32) -> io::Result<Vec<String>> {
        if !self.has_list() {
            return Ok(vec![EVERYONE.to_owned()]);
        }
        let own = own_sid()?;
        let mut allowed = Vec::new();
        // SAFETY: the list lives as long as `memory`, which `self` owns.
        let count = unsafe { (*self.list).AceCount };
        for position in 0..u32::from(count) {
            let mut entry = null_mut();
            // SAFETY: as above, and the list has this position.
            check(unsafe { GetAce(self.list, position, &raw mut entry) })?;
            // SAFETY: every entry begins with a header.
            let header = unsafe { *entry.cast::<ACE_HEADER>() };
            if u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
                continue;
            }
            if header.AceType == ALLOWED {
                let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                // SAFETY: an entry of this type; its SID begins at this field and ends within the entry.
                let (mask, sid) = unsafe { ((*entry).Mask, (&raw mut (*entry).SidStart).cast()) };
                let sid = text(sid)?;
                if mask & rights != 0 && sid != own && !is_system(&sid) {
                    allowed.push(sid);
                }
            } else if ALLOWED_OTHERWISE.contains(&header.AceType) {
                allowed.push(format!("an entry of type {}", header.AceType));
            }
        }
        Ok(allowed)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by `GetNamedSecurityInfoW`, and freed once.
        unsafe { LocalFree(self.memory) };
    }
}

/// Whether a SID belongs to the system, or means the owner.
pub(super) fn is_system(sid: &str) -> bool {
    SYSTEM.contains(&sid)
}

/// The SID of the user of this process.
pub(super) fn own_sid() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: a pseudo handle, and a variable that lives until the call returns.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    // A `TOKEN_USER` with the longest SID takes 84 bytes; the elements have the alignment that it needs.
    let mut buffer = [0_u64; 16];
    let (mut length, size) = (0, u32::try_from(size_of_val(&buffer)).expect("a small buffer"));
    // SAFETY: the buffer has `size` bytes.
    let answer = check(unsafe {
        GetTokenInformation(token, TokenUser, buffer.as_mut_ptr().cast(), size, &raw mut length)
    });
    // SAFETY: opened above, and closed once.
    unsafe { CloseHandle(token) };
    answer?;
    // SAFETY: filled by the call above; the SID is in the same buffer.
    text(unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid })
}

/// Gives a file to this user, the system and administrators alone. It inherits nothing.
pub(super) fn protect(path: &Path) -> io::Result<()> {
    apply(path, &alone("")?)
}

/// Creates a directory for this user, the system and administrators alone, as is all that is created in it.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    let list = List::parse(&alone("OICI")?)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).expect("a small structure"),
        lpSecurityDescriptor: list.memory,
        bInheritHandle: 0,
    };
    let path = wide(path);
    // SAFETY: the path ends with a zero; it, the attributes and the list in them live until the call returns.
    check(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) })
}

/// The access list of a private file, as text. `inherited` says what is created in it.
fn alone(inherited: &str) -> io::Result<String> {
    let entries = [own_sid()?.as_str(), "SY", "BA"].map(|sid| format!("(A;{inherited};FA;;;{sid})"));
    Ok(format!("D:P{}", entries.concat()))
}

/// Replaces the access list of a file by this one, which begins with `D:`, or with `D:P` if it inherits nothing.
pub(super) fn apply(path: &Path, list: &str) -> io::Result<()> {
    let inherits = if list.starts_with("D:P") { PROTECTED_DACL_SECURITY_INFORMATION } else { 0 };
    let list = List::parse(list)?;
    let (mut is_present, mut entries, mut is_default) = (0, null_mut(), 0);
    // SAFETY: the descriptor lives as long as `list`, and the variables until the call returns.
    check(unsafe {
        GetSecurityDescriptorDacl(list.memory, &raw mut is_present, &raw mut entries, &raw mut is_default)
    })?;
    let path = wide(path);
    // SAFETY: the path ends with a zero; the entries live as long as `list`.
    check_code(unsafe {
        SetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | inherits,
            null_mut(),
            null_mut(),
            entries,
            null(),
        )
    })
}

/// A descriptor with an access list only.
struct List {
    memory: PSECURITY_DESCRIPTOR,
}

impl List {
    fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text);
        let mut memory = null_mut();
        // SAFETY: the text ends with a zero, and the variable lives until the call returns.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut memory,
                null_mut(),
            )
        })?;
        Ok(Self { memory })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: allocated by `parse`, and freed once.
        unsafe { LocalFree(self.memory) };
    }
}

/// The account of a SID, as `DOMAIN\name`; the SID itself if Windows knows no account.
pub(super) fn name(sid: &str) -> String {
    let text = wide(sid);
    let mut pointer = null_mut();
    // SAFETY: the text ends with a zero, and the variable lives until the call returns.
    if unsafe { ConvertStringSidToSidW(text.as_ptr(), &raw mut pointer) } == 0 {
        return sid.to_owned();
    }
    let (mut name, mut domain) = ([0_u16; MAX_TEXT], [0_u16; MAX_TEXT]);
    let size = u32::try_from(MAX_TEXT).expect("a small buffer");
    let (mut name_length, mut domain_length, mut kind) = (size, size, 0);
    // SAFETY: both buffers have `size` elements, and the SID was made above.
    let found = unsafe {
        LookupAccountSidW(
            null(),
            pointer,
            name.as_mut_ptr(),
            &raw mut name_length,
            domain.as_mut_ptr(),
            &raw mut domain_length,
            &raw mut kind,
        )
    };
    // SAFETY: allocated above, and freed once.
    unsafe { LocalFree(pointer) };
    let part = |buffer: &[u16], length: u32| {
        String::from_utf16_lossy(buffer.get(..length as usize).unwrap_or_default())
    };
    match (found, part(&domain, domain_length)) {
        (0, _) => sid.to_owned(),
        (_, domain) if domain.is_empty() => part(&name, name_length),
        (_, domain) => format!("{domain}\\{}", part(&name, name_length)),
    }
}

fn text(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: callers pass a SID that Windows made; the variable lives until the call returns.
    check(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    // SAFETY: the text ends with a zero.
    let length = (0..MAX_TEXT).take_while(|position| unsafe { *text.add(*position) } != 0).count();
    // SAFETY: the text has as many elements as were counted.
    let string = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    // SAFETY: allocated by the call above, and freed once.
    unsafe { LocalFree(text.cast()) };
    Ok(string)
}

fn check(success: i32) -> io::Result<()> {
    if success == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_code(error: u32) -> io::Result<()> {
    match error {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}
