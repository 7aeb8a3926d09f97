package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bootIDFile tells one boot of the machine from another.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// altered are the sysctls outside the network that the engine, runc, Kubernetes' kubelet or the systemd of a
// node set, and that no namespace keeps apart. They are named, instead of taking every sysctl
// there is, so that what an administrator sets during a run stays.
var altered = []string{
	"kernel.keys.root_maxbytes", "kernel.keys.root_maxkeys", // dockerd and runc; kubelet
	"kernel.panic", "kernel.panic_on_oops", "vm.overcommit_memory", "vm.panic_on_oom", // kubelet
	"fs.protected_fifos", "fs.protected_hardlinks", "fs.protected_regular", "fs.protected_symlinks", // sysctl.d of Debian
	"kernel.core_pattern", "kernel.core_uses_pid", "kernel.kptr_restrict", "kernel.pid_max", "kernel.printk",
	"kernel.sysrq", "kernel.yama.ptrace_scope", "kernel.unprivileged_bpf_disabled", "vm.max_map_count", "vm.mmap_min_addr",
	"fs.inotify.max_user_instances", "fs.inotify.max_user_watches", "fs.file-max", "fs.nr_open", "fs.aio-max-nr",
}

// record is what the machine was like before our engine started.
type record struct {
	BootID string            `json:"bootID"`
	Sysctl map[string]string `json:"sysctl"`
}

// sysctlRoot is where sysctls are files.
var sysctlRoot = "/proc/sys"

func sysctlPath(name string) string {
	return filepath.Join(sysctlRoot, strings.ReplaceAll(name, ".", "/"))
}

func recordPath() string { return filepath.Join(stateDir, "machine.json") }

// remember writes the record of the machine as it is, so that it outlives this process and the machine's
// power. A record that is there stays: it is from before a change that has not been undone.
func remember() error {
	if _, err := os.Stat(recordPath()); err == nil {
		return nil
	}
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return err
	}
	r := record{BootID: strings.TrimSpace(string(boot)), Sysctl: map[string]string{}}
	for _, name := range altered {
		value, err := os.ReadFile(sysctlPath(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel has it not
		}
		if err != nil {
			return err
		}
		r.Sysctl[name] = strings.TrimSpace(string(value))
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(recordPath(), b)
}

// putBack restores what remember recorded, and forgets it. It does nothing where there is no
// record, and after a boot, which has set everything anew.
func putBack() error {
	b, err := os.ReadFile(recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w: set the sysctls in it by hand, then remove it", recordPath(), err)
	}
	boot, err := os.ReadFile(bootIDFile)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(boot)) != r.BootID {
		return os.Remove(recordPath())
	}
	var errs []error
	for name, was := range r.Sysctl {
		is, err := os.ReadFile(sysctlPath(name))
		if err == nil && strings.TrimSpace(string(is)) != was {
			err = os.WriteFile(sysctlPath(name), []byte(was), 0)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("put sysctl %s back to %q: %w", name, was, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // the record stays for the next time
	}
	return os.Remove(recordPath())
}

// writeDurably replaces the file by one that is whole, also after a power cut.
func writeDurably(path string, b []byte) error {
	fresh, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fresh.Write(b)
	if err := errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
