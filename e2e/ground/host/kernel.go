package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// minKernel is the oldest kernel that the verifier is written for.
var minKernel = [2]int{5, 15}

// minTCX is the oldest kernel that has tcx.
var minTCX = [2]int{6, 6}

// CheckKernel returns an error that wraps ErrMissing if this kernel cannot run the eBPF verifier.
func CheckKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	return checkKernel(unix.ByteSliceToString(u.Release[:]), "/sys/kernel/btf/vmlinux")
}

func checkKernel(release, btf string) error {
	if err := CheckRelease(release); err != nil {
		return err
	}
	if _, err := os.Stat(btf); err != nil {
		return fmt.Errorf("%w: the eBPF verifier needs a kernel with type information (CONFIG_DEBUG_INFO_BTF): %s is not there", ErrMissing, btf)
	}
	return nil
}

// CheckRelease returns an error that wraps ErrMissing if a kernel of this release, as uname(2) has it, is too old for the
// eBPF verifier.
func CheckRelease(release string) error {
	enough, err := reaches(release, minKernel)
	if err == nil && !enough {
		err = fmt.Errorf("%w: the eBPF verifier needs Linux %d.%d or later, this is %s", ErrMissing, minKernel[0], minKernel[1], release)
	}
	return err
}

// HasTCX tells whether a kernel of this release has tcx. One whose release cannot be read is taken to have none.
func HasTCX(release string) bool {
	has, err := reaches(release, minTCX)
	return err == nil && has
}

// reaches tells whether a release is of this version or a later one.
func reaches(release string, version [2]int) (bool, error) {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false, fmt.Errorf("kernel release %q: %w", release, err)
	}
	return major > version[0] || major == version[0] && minor >= version[1], nil
}
