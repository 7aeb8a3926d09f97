package netem

import "slices"

// action is what a command line of tc wants that concerns the stand-in.
type action int

const (
	other action = iota // nothing that concerns it
	add
	remove
	show
)

// invocation is a command line of tc as far as it concerns the stand-in.
type invocation struct {
	action action
	device string   // "" is every one, and only to show
	handle string   // "" if none is given
	kind   string   // of the qdisc, "" if none is given
	netem  []string // what follows the kind
}

// parse reads the arguments of tc. What is not one of the following forms is
// not for the stand-in:
//
//	qdisc add dev DEVICE root [handle HANDLE] KIND ...
//	qdisc del|delete dev DEVICE root [handle HANDLE] [KIND]
//	qdisc [show|list|ls] [dev DEVICE] [root]
func parse(args []string) invocation {
	if len(args) == 0 || !slices.Contains([]string{"qdisc", "qd"}, args[0]) {
		return invocation{}
	}
	var i invocation
	args = args[1:]
	if len(args) == 0 {
		return invocation{action: show}
	}
	switch args[0] {
	case "add":
		i.action = add
	case "del", "delete":
		i.action = remove
	case "show", "list", "ls":
		i.action = show
	default:
		return invocation{}
	}
	args, root := args[1:], false
options:
	for len(args) > 0 {
		switch {
		case args[0] == "dev" && len(args) > 1:
			i.device, args = args[1], args[2:]
		case args[0] == "handle" && len(args) > 1 && i.action != show:
			i.handle, args = args[1], args[2:]
		case args[0] == "root":
			root, args = true, args[1:]
		case args[0] == "parent", i.action == show:
			return invocation{}
		default:
			i.kind, i.netem = args[0], args[1:]
			break options
		}
	}
	if i.action != show && (i.device == "" || !root) || i.action == add && i.kind == "" {
		return invocation{}
	}
	return i
}
