// Package oci fits an OCI runtime-spec process to the bounds of its host.
package oci

import (
	"encoding/json"

	"golang.org/x/sys/unix"
)

// capabilities are the names of the runtime specification in the kernel's order:
// the index is the capability's number in linux/capability.h.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

func init() {
	if capabilities[unix.CAP_LAST_CAP] != "CAP_CHECKPOINT_RESTORE" {
		panic("oci: the capability list does not match linux/capability.h")
	}
}

// FitProcess edits the "process" object of a runtime specification: capabilities
// that are not within bounds are dropped, the three that were split off
// CAP_SYS_ADMIN are added wherever that is asked for, and a negative
// oomScoreAdj becomes 0 where CAP_SYS_RESOURCE is out of bounds.
func FitProcess(process map[string]any, bounded func(capability int) bool) {
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, set := range sets {
			if list, ok := set.([]any); ok {
				sets[name] = fit(list, bounded)
			}
		}
	}
	adj, ok := process["oomScoreAdj"].(json.Number)
	if n, err := adj.Int64(); ok && err == nil && n < 0 && !bounded(unix.CAP_SYS_RESOURCE) {
		process["oomScoreAdj"] = 0
	}
}

func fit(asked []any, bounded func(int) bool) []any {
	wanted := make(map[string]bool, len(capabilities))
	for _, c := range asked {
		if name, ok := c.(string); ok {
			wanted[name] = true
		}
	}
	if wanted["CAP_SYS_ADMIN"] {
		for _, name := range capabilities[unix.CAP_PERFMON:] {
			wanted[name] = true
		}
	}
	fitted := []any{}
	for number, name := range capabilities {
		if wanted[name] && bounded(number) {
			fitted = append(fitted, name)
		}
	}
	return fitted
}
