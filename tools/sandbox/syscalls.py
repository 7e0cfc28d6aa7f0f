"""System call numbers that the sandbox's filter names: (x86-64, arm64), None where the call does not exist.

From the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.
"""

from __future__ import annotations

Numbers = tuple[int | None, int | None]

# Refused whatever their arguments are: mounts and namespaces, other processes' memory, kernel keys, io_uring (it makes
# sockets without `socket`), BPF, modules, handles that ignore paths, clocks, System V IPC and message queues, and the
# splice family and NUMA calls that kernel exploits like.
# fmt: off
DENIED: dict[str, Numbers] = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "process_madvise": (440, 440), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "userfaultfd": (323, 282),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, None),
    "get_kernel_syms": (177, None), "query_module": (178, None), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "acct": (163, 89), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "settimeofday": (164, 170), "sethostname": (170, 161), "setdomainname": (171, 162),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "personality": (135, 92),
    "syslog": (103, 116), "vhangup": (153, 58), "nfsservctl": (180, 42), "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "set_mempolicy_home_node": (450, 450),
    "memfd_secret": (447, 447), "splice": (275, 76), "tee": (276, 77), "vmsplice": (278, 75), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183), "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "seccomp": (317, 277), "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None), "_sysctl": (156, None),
}

# Allowed or refused by their arguments, see seccomp.py.
JUDGED: dict[str, Numbers] = {
    "clone": (56, 220), "clone3": (435, 435), "socket": (41, 198), "socketpair": (53, 199), "ioctl": (16, 29),
    "prctl": (157, 167), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "open": (2, None),
    "openat": (257, 56), "openat2": (437, 437), "creat": (85, None), "mknod": (133, None), "mknodat": (259, 33),
    "fchmodat2": (452, 452), "prlimit64": (302, 261), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpriority": (141, 140), "utimensat": (280, 88),
}

# Refused where a sandbox shares the machine's processes and files (see seccomp.Reach.neighbours): they tell of files or
# reach processes that no Landlock rule is about.
NEIGHBOURS: dict[str, Numbers] = {
    "connect": (42, 203), "ioprio_set": (251, 30), "inotify_add_watch": (254, 27),
}
# Likewise, where those belong to the same user: owners, attributes and times of files by their paths.
SAME_USER: dict[str, Numbers] = {
    "chown": (92, None), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6), "removexattr": (197, 14),
    "lremovexattr": (198, 15),
}
# fmt: on

# Linux 6.7. What is newer has not been looked at: the filter answers as an older kernel does (ENOSYS).
NEWEST = 456
