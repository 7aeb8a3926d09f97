package verifier_test

import (
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/verifier"
)

// A node attaches the verifier before it opens its socket, and tells it of each session.
// This needs root, and so it is compiled and not run.
func Example() {
	v, err := verifier.Open(verifier.Config{Interface: "eth0"})
	if err != nil {
		fmt.Printf("%+v\n", err) // with the kernel's whole log
		return
	}
	defer v.Close()

	id := frame.SessionID{0xab}
	if err := v.Put(id, verifier.Session{RxHeaderKey: frame.Key{1, 2, 3}, Expires: verifier.Now() + time.Hour}); err != nil {
		fmt.Println(err)
		return
	}
	// An attestation was good: data frames pass for the next seconds.
	if err := v.SetVerifiedUntil(id, verifier.Now()+3*time.Second); err != nil {
		fmt.Println(err)
		return
	}
	counts, err := v.Counters()
	fmt.Println(counts["pass"], counts["bad_tag"], err)
}
