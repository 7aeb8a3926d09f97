package verifier

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// feederLength is how many sequence numbers a feeder has.
const feederLength = 1 << 17

// inOrder is the order of an undisturbed sender.
func inOrder(i int) uint64 { return uint64(i + 1) }

// feeder is an XDP program that gives every run of a packet the next sequence number
// and its tag, which it takes from a table, and then tail-calls another program.
// Once the table is through it calls nothing. It may run on many CPUs at once.
type feeder struct {
	prog         *ebpf.Program
	cursor, next *ebpf.Map
}

func newFeeder(t testing.TB, raw []byte, order func(i int) uint64) *feeder {
	t.Helper()
	table := newMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: feederLength})
	payload := bytes.Clone(raw[14+20+8:])
	keys, values := make([]uint32, feederLength), make([][2]uint64, feederLength)
	for i := range keys {
		binary.BigEndian.PutUint64(payload[24:], order(i))
		keys[i] = uint32(i)
		values[i][0] = binary.LittleEndian.Uint64(payload[24:])
		var tag [8]byte
		binary.BigEndian.PutUint64(tag[:], frame.Tag(payload, testKey))
		values[i][1] = binary.LittleEndian.Uint64(tag[:])
	}
	if _, err := table.BatchUpdate(keys, values, nil); err != nil {
		t.Fatal(err)
	}
	f := &feeder{
		cursor: newMap(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}),
		next:   newMap(t, &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}),
	}
	const sequence = 14 + 20 + 8 + 24
	f.prog = program(t, asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, f.cursor.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "fail"),
		asm.Mov.Imm(asm.R1, 1),
		atomicOp(asm.FetchAdd, asm.R0, asm.R1, 0),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, table.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "fail"),
		asm.LoadMem(asm.R3, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R4, asm.R6, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R5, asm.R3), asm.Add.Imm(asm.R5, sequence+16),
		asm.JGT.Reg(asm.R5, asm.R4, "fail"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.StoreMem(asm.R3, sequence, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R0, 8, asm.DWord),
		asm.StoreMem(asm.R3, sequence+8, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, f.next.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("fail"),
		asm.Return(),
	})
	return f
}

// point makes the feeder start over, with prog as the program that it feeds.
func (f *feeder) point(t testing.TB, prog *ebpf.Program) {
	t.Helper()
	if err := f.next.Put(uint32(0), uint32(prog.FD())); err != nil {
		t.Fatal(err)
	}
	if err := f.cursor.Put(uint32(0), uint64(0)); err != nil {
		t.Fatal(err)
	}
}

func newMap(t testing.TB, spec *ebpf.MapSpec) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, m.Close()) })
	return m
}

func program(t testing.TB, instructions asm.Instructions) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Dual MIT/GPL", Instructions: instructions,
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { closed(t, prog.Close()) })
	return prog
}

func closed(t testing.TB, err error) {
	if err != nil {
		t.Error(err)
	}
}
