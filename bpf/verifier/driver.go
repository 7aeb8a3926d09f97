package verifier

import "golang.org/x/sys/unix"

// preference lists the ways to attach to an interface with this driver, best first.
//
// A network card's driver runs native XDP before there is an skb, on a queue per
// CPU: the cheapest place to drop a flood. A veth, which is what a pod has, only
// gets skbs. Native XDP makes it copy each into a buffer, and hand the packets of
// all senders to one NAPI per queue, by default one: whatever floods the
// interface then takes the CPU that the valid packets wait for. At tcx ingress
// and in generic XDP a packet is judged on the CPU that sent it, and tcx does not
// copy. BenchmarkUnderFlood measures all three.
func preference(driver string) []string {
	if driver == "veth" {
		return []string{ModeTCX, ModeXDPGeneric, ModeXDPNative}
	}
	return []string{ModeXDPNative, ModeXDPGeneric, ModeTCX}
}

// driver is the name of an interface's driver, empty if it tells none.
func driver(iface string) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, iface)
	if err != nil { // loopback has none
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}
