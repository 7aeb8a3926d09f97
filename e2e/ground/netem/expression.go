package netem

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// expression is a part of an nftables rule. A rule's expressions are evaluated in
// turn until one does not hold.
type expression struct {
	name string
	fill func(*attributes)
}

// leavesBy holds for packets that leave by the device.
func leavesBy(device *net.Interface) []expression {
	index := binary.NativeEndian.AppendUint32(nil, uint32(device.Index))
	return []expression{load(unix.NFT_META_OIF), compare(unix.NFT_CMP_EQ, index)}
}

// copies are the rules that copy a packet of a socket, send the copy on its way from
// the beginning, and end the packet; on the copy, which has no socket, they have no effect.
func copies(family uint8, device *net.Interface, end expression) [][]expression {
	index := binary.NativeEndian.AppendUint32(nil, uint32(device.Index))
	offset, length := uint32(16), uint32(net.IPv4len) // of the destination in the header
	if family == unix.NFPROTO_IPV6 {
		offset, length = 24, net.IPv6len
	}
	copied := []expression{
		load(unix.NFT_META_CGROUP), // holds if there is a socket, be it closed
		{"payload", func(a *attributes) {
			a.number(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1)
			a.number(unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER)
			a.number(unix.NFTA_PAYLOAD_OFFSET, offset)
			a.number(unix.NFTA_PAYLOAD_LEN, length)
		}},
		{"immediate", func(a *attributes) {
			a.number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_2)
			a.nest(unix.NFTA_IMMEDIATE_DATA, func(a *attributes) { a.bytes(unix.NFTA_DATA_VALUE, index) })
		}},
		{"dup", func(a *attributes) {
			a.number(unix.NFTA_DUP_SREG_ADDR, unix.NFT_REG_1)
			a.number(unix.NFTA_DUP_SREG_DEV, unix.NFT_REG_2)
		}},
		end,
	}
	var rules [][]expression
	for _, condition := range [][]expression{
		{load(unix.NFT_META_L4PROTO), compare(unix.NFT_CMP_EQ, []byte{unix.IPPROTO_TCP})},
		{load(unix.NFT_META_LEN), bigEndian(), compare(unix.NFT_CMP_LTE, binary.BigEndian.AppendUint32(nil, uint32(device.MTU)))},
	} {
		rule := append(leavesBy(device), condition...)
		rules = append(rules, append(rule, copied...))
	}
	return rules
}

// load puts a property of the packet into the first register.
func load(key uint32) expression {
	return expression{"meta", func(a *attributes) {
		a.number(unix.NFTA_META_KEY, key)
		a.number(unix.NFTA_META_DREG, unix.NFT_REG_1)
	}}
}

// compare holds if the first register, taken as bytes, is so to the value.
func compare(operator uint32, value []byte) expression {
	return expression{"cmp", func(a *attributes) {
		a.number(unix.NFTA_CMP_SREG, unix.NFT_REG_1)
		a.number(unix.NFTA_CMP_OP, operator)
		a.nest(unix.NFTA_CMP_DATA, func(a *attributes) { a.bytes(unix.NFTA_DATA_VALUE, value) })
	}}
}

// bigEndian turns the number in the first register into big-endian bytes.
func bigEndian() expression {
	return expression{"byteorder", func(a *attributes) {
		a.number(unix.NFTA_BYTEORDER_SREG, unix.NFT_REG_1)
		a.number(unix.NFTA_BYTEORDER_DREG, unix.NFT_REG_1)
		a.number(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON)
		a.number(unix.NFTA_BYTEORDER_LEN, 4)
		a.number(unix.NFTA_BYTEORDER_SIZE, 4)
	}}
}

// bypass lets packets pass while nobody serves the queue.
func flags(bypass bool) uint16 {
	if bypass {
		return 1
	}
	return 0
}

// queueExpression is nftables' own (CONFIG_NFT_QUEUE).
func queueExpression(queue uint16, bypass bool) expression {
	return expression{"queue", func(a *attributes) {
		a.short(unix.NFTA_QUEUE_NUM, queue)
		a.short(unix.NFTA_QUEUE_TOTAL, 1)
		a.short(unix.NFTA_QUEUE_FLAGS, flags(bypass))
	}}
}

// targetExpression is iptables' NFQUEUE within nftables (CONFIG_NFT_COMPAT and
// CONFIG_NETFILTER_XT_TARGET_NFQUEUE); the information is struct xt_NFQ_info_v3.
func targetExpression(queue uint16, bypass bool) expression {
	return expression{"target", func(a *attributes) {
		a.text(unix.NFTA_TARGET_NAME, "NFQUEUE")
		a.number(unix.NFTA_TARGET_REV, 3)
		info := binary.NativeEndian.AppendUint16(nil, queue)
		info = binary.NativeEndian.AppendUint16(info, 1) // queues
		info = binary.NativeEndian.AppendUint16(info, flags(bypass))
		a.bytes(unix.NFTA_TARGET_INFO, append(info, 0, 0)) // padded to eight, as XT_ALIGN does
	}}
}
