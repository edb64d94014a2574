"""Tries ways out of a container, each in a process of its own, and prints as JSON what became of each: the name of the error that
refused it, or what it got. Run inside by escape.test.ts; HOST_PID is of a process outside."""
import ctypes, errno, json, os, platform, signal, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
HOST_PID = int(sys.argv[1])
# Calls that libc has no function for, on x86-64 and on arm64.
NUMBERS = {
    'add_key': (248, 217), 'keyctl': (250, 219), 'request_key': (249, 218), 'bpf': (321, 280), 'io_uring_setup': (425, 425),
    'perf_event_open': (298, 241), 'userfaultfd': (323, 282), 'kexec_load': (246, 104), 'init_module': (175, 105),
    'open_tree': (428, 428), 'fsopen': (430, 430), 'open_by_handle_at': (304, 265), 'pidfd_open': (434, 434),
    'process_vm_readv': (310, 270), 'pivot_root': (155, 41), 'clone3': (435, 435), 'acct': (163, 89), 'kcmp': (312, 272),
}
ATTEMPTS = {}


def attempt(function):
    ATTEMPTS[function.__doc__] = function
    return function


def call(name, *arguments):
    """A libc function, or a system call by its number. Errors: OSError."""
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if name in NUMBERS:
        number = NUMBERS[name][0 if platform.machine() == 'x86_64' else 1]
        result = libc.syscall(ctypes.c_long(number), *given)
    else:
        result = getattr(libc, name)(*given)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def write(path, text):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text)


def read(path):
    fd = os.open(path, os.O_RDONLY)
    return os.read(fd, 16)


CLONE_NEWNS, CLONE_NEWUSER, MS_REMOUNT, MS_BIND = 0x20000, 0x10000000, 32, 4096


@attempt
def _(): 'mount a tmpfs'; call('mount', b'none', b'/mnt', b'tmpfs', 0, None)
@attempt
def _(): 'mount a new proc'; call('mount', b'proc', b'/mnt', b'proc', 0, None)
@attempt
def _(): 'mount the control groups'; call('mount', b'none', b'/mnt', b'cgroup', 0, b'memory')
@attempt
def _(): 'bind one folder over another'; call('mount', b'/etc', b'/mnt', None, MS_BIND, None)
@attempt
def _(): 'make /proc/sys writable again'; call('mount', None, b'/proc/sys', None, MS_REMOUNT | MS_BIND, None)
@attempt
def _(): 'uncover what is masked'; call('umount2', b'/sys/firmware', 2)
@attempt
def _(): 'open a mount as a file'; call('open_tree', -100, b'/', 1)
@attempt
def _(): 'prepare a file system'; call('fsopen', b'tmpfs', 0)
@attempt
def _(): 'change the root'; call('pivot_root', b'/', b'/mnt')
@attempt
def _(): 'unshare users and become root'; call('unshare', CLONE_NEWUSER)
@attempt
def _(): 'unshare mounts'; call('unshare', CLONE_NEWNS)
@attempt
def _(): 'clone into new users'; call('clone3', ctypes.create_string_buffer(struct.pack('8Q', CLONE_NEWUSER, 0, 0, 0, 17, 0, 0, 0)), 64)
@attempt
def _(): 'enter the namespaces of pid 1'; call('setns', os.open('/proc/self/ns/mnt', os.O_RDONLY), 0)
@attempt
def _(): 'set what runs when a process dumps core'; write('/proc/sys/kernel/core_pattern', b'|/tmp/x')
@attempt
def _(): 'set what runs when a module is wanted'; write('/proc/sys/kernel/modprobe', b'/tmp/x')
@attempt
def _(): 'press the magic key'; write('/proc/sysrq-trigger', b'h')
@attempt
def _(): "read the kernel's memory"; return str(len(read('/proc/kcore')))
@attempt
def _(): "read the kernel's keys"; return str(len(read('/proc/keys')))
@attempt
def _(): "read the kernel's log"; call('klogctl', 3, ctypes.create_string_buffer(16), 16)
@attempt
def _(): 'be spared by the OOM killer'; write('/proc/self/oom_score_adj', b'-1000')
@attempt
def _(): 'write a uevent helper below /sys'; write('/sys/kernel/uevent_helper', b'/tmp/x')
@attempt
def _(): 'write the profiling setting below /sys'; write('/sys/kernel/profiling', b'1')
@attempt
def _(): 'see control groups'; return str(len(os.listdir('/sys/fs/cgroup')))
@attempt
def _(): 'write a release agent'; write('/sys/fs/cgroup/memory/release_agent', b'/tmp/x')
@attempt
def _(): 'make a disk of the host'; os.mknod('/tmp/disk', 0o60666, os.makedev(254, 0)); return 'made'
@attempt
def _(): "make the kernel's memory a file"; os.mknod('/tmp/mem', 0o20666, os.makedev(1, 1)); return 'made'
@attempt
def _(): 'open a disk of the host'; return str(len(read('/dev/vda')))
@attempt
def _(): 'open a file of the host by its handle'; call('open_by_handle_at', 3, ctypes.create_string_buffer(128), 0)
@attempt
def _(): 'trace a process of the host'; call('ptrace', 16, HOST_PID, None, None)
@attempt
def _():
    'read the memory of a process of the host'
    byte = ctypes.create_string_buffer(1)
    piece = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(byte), 1))
    call('process_vm_readv', HOST_PID, piece, 1, piece, 1, 0)
@attempt
def _(): 'kill a process of the host'; os.kill(HOST_PID, 0); return 'there'
@attempt
def _(): 'hold a process of the host'; call('pidfd_open', HOST_PID, 0)
@attempt
def _(): 'look into pid 1'; return str(len(os.readlink('/proc/1/cwd')))
@attempt
def _():
    'kill pid 1'
    os.kill(1, signal.SIGKILL)
    time.sleep(0.1)
    os.kill(1, 0)
    return 'survived'
@attempt
def _(): 'add a key to a keyring'; call('add_key', b'user', b'ingot', b'x', 1, -3)
@attempt
def _(): 'read a keyring'; call('keyctl', 0, -3, 0)
@attempt
def _(): 'request a key'; call('request_key', b'user', b'ingot', None, 0)
@attempt
def _(): 'load a program into the kernel'; call('bpf', 5, ctypes.create_string_buffer(128), 128)
@attempt
def _(): 'load a module'; call('init_module', b'x', 1, b'')
@attempt
def _(): 'load another kernel'; call('kexec_load', 0, 0, None, 0)
@attempt
def _(): 'use io_uring'; call('io_uring_setup', 1, ctypes.create_string_buffer(120))
@attempt
def _(): 'watch with perf'; call('perf_event_open', ctypes.create_string_buffer(128), 0, -1, -1, 0)
@attempt
def _(): 'stop the kernel at page faults'; call('userfaultfd', 0)
@attempt
def _(): 'write down all processes'; call('acct', b'/tmp/acct')
@attempt
def _(): 'restart the machine'; call('reboot', 0x89ABCDEF)
@attempt
def _(): 'set the clock'; call('settimeofday', ctypes.create_string_buffer(struct.pack('qq', 1, 0)), None)
@attempt
def _(): 'swap to a file'; call('swapon', b'/tmp/x', 0)
@attempt
def _(): 'rename the machine'; call('sethostname', b'other', 5)
@attempt
def _(): 'open more files than allowed'; import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (2000000, 2000000)); return 'set'
@attempt
def _(): 'open a raw socket'; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); return 'opened'
@attempt
def _(): 'open a packet socket'; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3); return 'opened'
@attempt
def _(): 'speak to the hypervisor'; socket.socket(40, socket.SOCK_STREAM); return 'opened'
@attempt
def _():
    'take its interface down'
    import fcntl
    request = struct.pack('16sH14s', b'eth0', 0, b'')
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, request)
    return 'down'
@attempt
def _(): 'overwrite the program it runs'; write('/proc/self/exe', b'x')
@attempt
def _(): 'write system files'; write('/etc/passwd', b''); return 'written'
@attempt
def _(): "read what is root's"; return str(len(read('/etc/shadow')) > 0)
@attempt
def _(): 'become root'; os.setuid(0); return 'uid %d' % os.getuid()
@attempt
def _(): 'give a file capabilities'; open('/tmp/c', 'w').close(); os.setxattr('/tmp/c', 'security.capability', struct.pack('<IIIII', 0x2000001, 1 << 21, 0, 0, 0)); return 'given'


def outcome(work):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            said = work() or 'done'
        except OSError as error:
            said = errno.errorcode.get(error.errno, str(error.errno))
        except ValueError as error:
            said = 'EPERM' if 'limit' in str(error) else str(error)
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said or 'ended without a word'


print(json.dumps({name: outcome(work) for name, work in ATTEMPTS.items()}))
