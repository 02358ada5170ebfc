import Testing

@testable import Dataplane

@Suite struct CgroupMountTests {
    @Test(arguments: [
        ("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw", "/sys/fs/cgroup/unified"),
        ("35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate", "/sys/fs/cgroup"),
        // Version 1; a part of the hierarchy; another file system that has the name; a line cut short.
        ("36 31 0:33 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu", nil),
        ("52 24 0:30 /kubepods/pod1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw", nil),
        ("60 24 0:44 / /mnt/cgroup2 rw - tmpfs cgroup2 rw", nil),
        ("41 31 0:38 / /sys/fs/cgroup", nil),
    ])
    func itsRootIsFoundAmongMounts(_ line: String, _ directory: String?) {
        #expect(CgroupMount.directory(ofMount: line) == directory)
    }
}
