package netem

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	tableOwned = 2                 // NFT_TABLE_F_OWNER: the table goes when its socket is closed (Linux 5.12)
	priority   = math.MaxInt32 - 1 // after everything that may still drop the packet, as a qdisc is
	chainName  = "postrouting"
)

// rule sends what leaves by one device to a queue. It lives in nftables tables of
// its own that the kernel removes with the process.
//
// A packet counts against the send buffer of its socket as long as it is held, and TCP has
// no more than two or three of them on the way. The kernel's netem ends that (skb_orphan_partial),
// since the path is what it emulates and not the sender's card. So the rule holds a copy, which
// belongs to no socket, and does away with the packet in a queue that takes none, whose
// senders hear of no error. Where that cannot be the packets themselves are held, and
// backpressure is true: the kernel has no dup; or connections are tracked in the namespace,
// and copies are not. Nor are datagrams that are to be fragmented copied, because
// copies must not be.
type rule struct {
	owner        *socket
	table        string
	families     []uint8
	backpressure bool
}

// setRule makes the rule for IPv4 and IPv6. Queue is served, refuse takes no packets.
func setRule(device *net.Interface, queue, refuse uint16) (_ *rule, err error) {
	owner, err := openSocket(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	r := &rule{owner: owner, table: fmt.Sprintf("x0tta6bl4-netem-%d", device.Index)}
	defer func() {
		if err != nil {
			err = errors.Join(err, owner.close())
		}
	}()
	tracked, err := connectionsTracked()
	if err != nil {
		return nil, err
	}
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		if _, err := os.Stat("/proc/thread-self/net/if_inet6"); family == unix.NFPROTO_IPV6 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := r.setFamily(family, device, queue, refuse, !tracked); err != nil {
			return nil, err
		}
		r.families = append(r.families, family)
	}
	return r, nil
}

// connectionsTracked tells whether the namespace has connection tracking at work.
func connectionsTracked() (bool, error) {
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n > 0, err
}

// setFamily tries what a kernel may have, the best first.
func (r *rule) setFamily(family uint8, device *net.Interface, queue, refuse uint16, mayCopy bool) error {
	var errs []error
	for _, copied := range []bool{true, false} {
		for _, to := range []func(uint16, bool) expression{queueExpression, targetExpression} {
			if copied && !mayCopy {
				continue
			}
			rules := [][]expression{append(leavesBy(device), to(queue, true))}
			if copied {
				rules = append(copies(family, device, to(refuse, false)), rules...)
			}
			err := r.set(family, rules)
			if err == nil {
				r.backpressure = r.backpressure || !copied
				return nil
			}
			errs = append(errs, fmt.Errorf("nftables rule with %s (copied: %t): %w", to(queue, true).name, copied, err))
		}
	}
	return errors.Join(errs...)
}

func (r *rule) set(family uint8, rules [][]expression) error {
	messages := []message{
		r.message(family, unix.NFT_MSG_NEWTABLE, func(a *attributes) {
			a.text(unix.NFTA_TABLE_NAME, r.table)
			a.number(unix.NFTA_TABLE_FLAGS, tableOwned)
		}),
		r.message(family, unix.NFT_MSG_NEWCHAIN, func(a *attributes) {
			a.text(unix.NFTA_CHAIN_TABLE, r.table)
			a.text(unix.NFTA_CHAIN_NAME, chainName)
			a.text(unix.NFTA_CHAIN_TYPE, "filter")
			a.nest(unix.NFTA_CHAIN_HOOK, func(a *attributes) {
				a.number(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_POST_ROUTING)
				a.number(unix.NFTA_HOOK_PRIORITY, priority)
			})
		}),
	}
	for _, expressions := range rules {
		messages = append(messages, r.message(family, unix.NFT_MSG_NEWRULE, func(a *attributes) {
			a.text(unix.NFTA_RULE_TABLE, r.table)
			a.text(unix.NFTA_RULE_CHAIN, chainName)
			a.nest(unix.NFTA_RULE_EXPRESSIONS, func(a *attributes) {
				for _, e := range expressions {
					a.nest(unix.NFTA_LIST_ELEM, func(a *attributes) {
						a.text(unix.NFTA_EXPR_NAME, e.name)
						a.nest(unix.NFTA_EXPR_DATA, e.fill)
					})
				}
			})
		}))
	}
	return r.commit(messages)
}

// clear removes the rules and leaves their hooks: removing a hook drops every packet
// that a queue of the namespace holds.
func (r *rule) clear() error {
	var messages []message
	for _, family := range r.families {
		messages = append(messages, r.message(family, unix.NFT_MSG_DELRULE, func(a *attributes) {
			a.text(unix.NFTA_RULE_TABLE, r.table)
			a.text(unix.NFTA_RULE_CHAIN, chainName)
		}))
	}
	if err := r.commit(messages); err != nil {
		return fmt.Errorf("remove the nftables rules: %w", err)
	}
	return nil
}

// close removes the tables.
func (r *rule) close() error { return r.owner.close() }

func (r *rule) message(family uint8, kind uint16, fill func(*attributes)) message {
	m := message{kind: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, family: family, flags: unix.NLM_F_ACK}
	switch kind {
	case unix.NFT_MSG_NEWRULE:
		m.flags |= unix.NLM_F_CREATE | unix.NLM_F_APPEND
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN:
		m.flags |= unix.NLM_F_CREATE
	}
	fill(&m.body)
	return m
}

// commit carries out all messages or none.
func (r *rule) commit(messages []message) error {
	batch := []message{{kind: unix.NFNL_MSG_BATCH_BEGIN, resource: unix.NFNL_SUBSYS_NFTABLES}}
	batch = append(batch, messages...)
	return r.owner.request(append(batch, message{kind: unix.NFNL_MSG_BATCH_END, resource: unix.NFNL_SUBSYS_NFTABLES})...)
}
