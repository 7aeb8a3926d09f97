package netem

import (
	"errors"

	"golang.org/x/sys/unix"
)

// dumpTables returns the names of the nftables tables of this network namespace.
func dumpTables() (names []string, err error) {
	s, err := openSocket(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	m := message{kind: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE, flags: unix.NLM_F_DUMP}
	if _, err := unix.Write(s.fd, m.appendTo(nil, 1)); err != nil {
		return nil, err
	}
	for b := make([]byte, 1<<16); ; {
		n, err := unix.Read(s.fd, b)
		if err != nil {
			return names, err
		}
		for m := range messagesIn(b[:n]) {
			switch {
			case m.kind == unix.NLMSG_DONE:
				return names, nil
			case m.kind == unix.NLMSG_ERROR:
				return names, errors.New("nftables: dump refused")
			case len(m.body) > 4:
				names = append(names, string(attribute(m.body[4:], unix.NFTA_TABLE_NAME)))
			}
		}
	}
}
