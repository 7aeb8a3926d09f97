#!/usr/bin/env bash
# A network fault of Chaos Mesh with a target goes by the targets' addresses. To each it adds
# /32, whatever its family. Of an IPv4 address that is one host; of an IPv6 address it is a
# network of 2^96 addresses, all pods of a cluster among them, and the set that it is put into
# (ipset's hash:net, without a family) holds IPv4 only. Partitions in a cluster of IPv6 are never
# injected.
#
# Exit 0: still so. Exit 1: it has changed. Needs the go command and a module proxy.
set -euo pipefail
mesh=github.com/chaos-mesh/chaos-mesh@v0.9.1-0.20260902003049-47411975a8cb
api=github.com/chaos-mesh/chaos-mesh/api@v0.0.0-20260906172039-d70b66ad97ac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# The module itself takes its API from a directory that is not in it.
go mod init finding >/dev/null 2>&1
go mod edit -require "$mesh" -replace "github.com/chaos-mesh/chaos-mesh/api=$api"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/netip"

	"github.com/chaos-mesh/chaos-mesh/controllers/podnetworkchaos/netutils"
)

func main() {
	cidr := netutils.IPToCidr("fd00:10:244:1::2")
	other := netip.MustParseAddr("fd00:10:99::1")
	fmt.Println(cidr, netip.MustParsePrefix(cidr).Contains(other))
}
GO
go mod tidy >/dev/null 2>&1
out=$(go run .)
echo "version:   $mesh"
echo "behaviour: of fd00:10:244:1::2 it makes: $out (whether fd00:10:99::1 is in it)"
if grep -q '^fd00:10:244:1::2/32 true$' <<<"$out"; then
  exit 0
fi
echo "changed: $out" >&2
exit 1
