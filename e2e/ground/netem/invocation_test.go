package netem

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for args, want := range map[string]invocation{
		"qdisc add dev eth0 root handle 1: netem delay 200ms": {add, "eth0", "1:", "netem", []string{"delay", "200ms"}},
		"qdisc add dev eth0 root netem":                       {add, "eth0", "", "netem", []string{}},
		"qdisc add root dev eth0 tbf rate 1mbit":              {add, "eth0", "", "tbf", []string{"rate", "1mbit"}},
		"qdisc del dev eth0 root":                             {action: remove, device: "eth0"},
		"qdisc delete dev lo root handle 1: netem":            {remove, "lo", "1:", "netem", []string{}},
		"qdisc":             {action: show},
		"qdisc show":        {action: show},
		"qdisc ls dev eth0": {action: show, device: "eth0"},
		// not for the stand-in
		"": {}, "-V": {}, "class show dev eth0": {}, "filter add dev eth0 parent 1: u32": {},
		"qdisc add dev eth0 parent 1: handle 2: netem delay 1ms": {},
		"qdisc add dev eth0 clsact":                              {},
		"qdisc add dev eth0 root":                                {},
		"qdisc del dev eth0 parent 1:":                           {},
		"qdisc del dev eth0 ingress":                             {},
		"qdisc change dev eth0 root netem delay 1ms":             {},
		"qdisc replace dev eth0 root netem delay 1ms":            {},
		"qdisc add root netem delay 1ms":                         {},
		"qdisc add dev":                                          {},
		"qdisc show dev eth0 ingress":                            {},
		"-s qdisc show":                                          {},
		"-j qdisc show":                                          {},
	} {
		if got := parse(strings.Fields(args)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", args, got, want)
		}
	}
}

func TestWithServed(t *testing.T) {
	const list = `qdisc noqueue 0: dev lo root refcnt 2 
qdisc mq 0: dev eth0 root refcnt 3 
qdisc pfifo_fast 0: dev eth0 parent :1 bands 3 priomap 1 2 2 2
qdisc clsact ffff: dev eth0 parent ffff:fff1 
qdisc noqueue 0: dev eth1 root refcnt 2 
`
	got := withServed(list, "", map[string]State{"eth0": {Device: "eth0", Handle: "1:", Options: "limit 1000 delay 200ms"}})
	want := strings.Replace(list, "qdisc mq 0: dev eth0 root refcnt 3 \n", "qdisc netem 1: dev eth0 root refcnt 3 limit 1000 delay 200ms\n", 1)
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	got = withServed("qdisc noqueue 0: root refcnt 2 \nqdisc clsact ffff: parent ffff:fff1 \n", "eth0",
		map[string]State{"eth0": {Device: "eth0", Handle: "1:", Options: "limit 1000 loss 10%"}})
	if want := "qdisc netem 1: root refcnt 2 limit 1000 loss 10%\nqdisc clsact ffff: parent ffff:fff1 \n"; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
