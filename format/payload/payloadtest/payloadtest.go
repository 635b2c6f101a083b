// Package payloadtest makes payloads that are bad on purpose, each in one way
// and all of them rightly signed, for the tests of whoever applies payloads.
package payloadtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/ulikunitz/xz"

	"mios/format/bsdiff"
	"mios/format/payload"
)

const block = payload.DefaultBlockSize

// A Case is a payload and what must become of it.
type Case struct {
	Name    string
	Payload []byte
	// Want is part of the refusal: the operation's number and the reason.
	Want string
	// Dirty says that good operations before the bad one may have been written.
	Dirty bool
}

// A Spec says what the payloads are for.
type Spec struct {
	Partition    string
	Old          []byte // what is installed: 16 blocks or more, whole ones
	MinorVersion uint32 // 0 stands for 9
	MaxTimestamp int64
	Signers      []crypto.Signer
	// More, if set, changes each manifest before it is signed.
	More func(*payload.Manifest)
}

// A plan is a payload of three operations, of which the last is to be bad.
type plan struct {
	m    *payload.Manifest
	data [][]byte // of each operation
	new  []byte
	// after changes the payload once it is signed.
	after func(b []byte, dataAt int) []byte
}

func (p *plan) bad() *payload.Operation { return &p.m.Partitions[0].Operations[2] }

// set gives the last operation its data.
func (p *plan) set(t payload.OpType, data []byte) {
	p.bad().Type, p.data[2] = t, data
	if len(data) == 0 {
		p.bad().DataHash = nil
	}
}

// good returns a payload that is right: blocks copied, zeros, and a bsdiff.
func good(tb testing.TB, s Spec) *plan {
	old := s.Old[:16*block]
	new := slices.Concat(old[4*block:8*block], make([]byte, 4*block), old[8*block:12*block], old[12*block:])
	for i := 8 * block; i < 12*block; i += 97 {
		new[i]++
	}
	patch := diff(tb, old[8*block:12*block], new[8*block:12*block])
	x := func(start uint64) []payload.Extent { return []payload.Extent{{StartBlock: start, NumBlocks: 4}} }
	src := func(off int) []byte {
		h := sha256.Sum256(old[off*block : (off+4)*block])
		return h[:]
	}
	oldSum, newSum := sha256.Sum256(old), sha256.Sum256(new[:12*block])
	minor := s.MinorVersion
	if minor == 0 {
		minor = 9
	}
	return &plan{new: new, data: [][]byte{nil, nil, patch}, m: &payload.Manifest{
		BlockSize: block, MinorVersion: minor, MaxTimestamp: s.MaxTimestamp,
		Partitions: []payload.Partition{{
			Name:    s.Partition,
			OldInfo: &payload.PartitionInfo{Size: uint64(len(old)), Hash: oldSum[:]},
			NewInfo: &payload.PartitionInfo{Size: 12 * block, Hash: newSum[:]},
			Operations: []payload.Operation{
				{Type: payload.SourceCopy, SrcExtents: x(4), DstExtents: x(0), SrcHash: src(4)},
				{Type: payload.Zero, DstExtents: x(4)},
				{Type: payload.SourceBSDiff, SrcExtents: x(8), DstExtents: x(8), SrcHash: src(8), DataHash: make([]byte, 32)},
			},
		}},
	}}
}

func diff(tb testing.TB, old, new []byte) []byte {
	b, err := bsdiff.Diff(context.Background(), old, new, bsdiff.Options{Legacy: true})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Good returns the payload that all cases are made from, and the partition that
// it makes.
func Good(tb testing.TB, s Spec) (b, new []byte) {
	p := good(tb, s)
	return p.pack(tb, s), p.new[:12*block]
}

// Whole returns a full payload whose one operation has the partition's content
// as it is. It says of the partition what info says.
func Whole(tb testing.TB, s Spec, info *payload.PartitionInfo, new []byte) []byte {
	dst := []payload.Extent{{NumBlocks: uint64(len(new) / block)}}
	p := &plan{new: new, data: [][]byte{new}, m: &payload.Manifest{BlockSize: block, MaxTimestamp: s.MaxTimestamp, Partitions: []payload.Partition{{
		Name: s.Partition, NewInfo: info,
		Operations: []payload.Operation{{Type: payload.Replace, DstExtents: dst, DataHash: make([]byte, sha256.Size)}},
	}}}}
	return p.pack(tb, s)
}

// pack signs and writes the payload, and judges nothing.
func (p *plan) pack(tb testing.TB, s Spec) []byte {
	ops := p.m.Partitions[0].Operations
	var next uint64
	var data []byte
	for i := range ops {
		b := p.data[i]
		if len(b) > 0 {
			ops[i].DataOffset += next
			ops[i].DataLength += uint64(len(b))
			if ops[i].DataHash != nil {
				sum := sha256.Sum256(b)
				ops[i].DataHash = sum[:]
			}
		}
		next += uint64(len(b))
		data = append(data, b...)
	}
	if s.More != nil {
		s.More(p.m)
	}
	sigs := func(digest [sha256.Size]byte) []byte {
		if len(s.Signers) == 0 {
			return nil
		}
		sig, err := payload.Sign(digest, s.Signers)
		if err != nil {
			tb.Fatal(err)
		}
		return sig.Encode()
	}
	if size := len(sigs([sha256.Size]byte{})); size > 0 {
		p.m.SignaturesOffset, p.m.SignaturesSize = next, uint64(size)
	}
	body := p.m.Encode()
	out := append([]byte("CrAU"), make([]byte, payload.HeaderSize-4)...)
	binary.BigEndian.PutUint64(out[4:], 2)
	binary.BigEndian.PutUint64(out[12:], uint64(len(body)))
	binary.BigEndian.PutUint32(out[20:], uint32(p.m.SignaturesSize))
	out = append(out, body...)
	whole := sha256.Sum256(slices.Concat(out, data))
	out = append(out, sigs(sha256.Sum256(out))...)
	at := len(out)
	out = append(append(out, data...), sigs(whole)...)
	if p.after != nil {
		out = p.after(out, at)
	}
	return out
}

// Bad returns the cases, each made from [Good].
func Bad(tb testing.TB, s Spec) []Case {
	var out []Case
	for _, w := range ways(tb, s) {
		p := good(tb, s)
		w.edit(p)
		out = append(out, Case{Name: w.name, Payload: p.pack(tb, s), Want: w.want, Dirty: w.dirty})
	}
	return out
}

type way struct {
	name, want string
	dirty      bool
	edit       func(p *plan)
}

func ways(tb testing.TB, s Spec) []way {
	const bs = "operation 2 (SOURCE_BSDIFF): "
	part := func(p *plan) *payload.Partition { return &p.m.Partitions[0] }
	list := []way{
		{"data changed on the way", bs + "data has SHA-256", true, func(p *plan) {
			p.after = func(b []byte, at int) []byte { b[at+40] ^= 1; return b }
		}},
		{"data ends early", bs, true, func(p *plan) {
			p.after = func(b []byte, at int) []byte { return b[:at+40] }
		}},
		{"another source block", bs + "source has SHA-256", true, func(p *plan) { p.bad().SrcExtents[0].StartBlock = 9 }},
		{"made from another system", "not the system that the payload was made from", false, func(p *plan) { part(p).OldInfo.Hash[0] ^= 1 }},
		{"source beyond the partition", bs + "source: blocks 13 to 17 are beyond", false, func(p *plan) { p.bad().SrcExtents[0].StartBlock = 13 }},
		{"destination beyond the partition", bs + "destination: blocks 9 to 13 are beyond", false, func(p *plan) { p.bad().DstExtents[0].StartBlock = 9 }},
		{"extent of 2^60 blocks", "operation 2: destination extent is empty or beyond any partition", false, func(p *plan) { p.bad().DstExtents[0].NumBlocks = 1 << 60 }},
		{"source of 2^64-1 blocks", "operation 2: source extent is empty or beyond any partition", false, func(p *plan) { p.bad().SrcExtents[0].NumBlocks = math.MaxUint64 }},
		{"destination written twice", bs + "destination: block 7 is written by operation 1 too", false, func(p *plan) { p.bad().DstExtents[0] = payload.Extent{StartBlock: 7, NumBlocks: 4} }},
		{"source read a thousand times", bs + "source of more than the partition's 16 blocks", false, func(p *plan) {
			p.bad().SrcExtents = slices.Repeat(p.bad().SrcExtents, 1000)
		}},
		{"no destination", bs + "no destination", false, func(p *plan) { p.bad().DstExtents = nil }},
		{"no source", bs + "no source", false, func(p *plan) { p.bad().SrcExtents = nil }},
		{"copy of another length", "operation 2 (SOURCE_COPY): source of 3 blocks, destination of 4", false, func(p *plan) {
			p.set(payload.SourceCopy, nil)
			p.bad().SrcExtents[0].NumBlocks = 3
		}},
		{"no hash of the data", bs + "no data, or no data_sha256_hash", false, func(p *plan) { p.bad().DataHash = nil }},
		{"zeros with data", "operation 2 (ZERO): has data", false, func(p *plan) { p.bad().Type = payload.Zero }},
		{"data elsewhere", bs + "data at 7, want it at 0", false, func(p *plan) { p.bad().DataOffset = 7 }},
		{"data of a gigabyte", bs + "1073741824 bytes of data, want at most", false, func(p *plan) { p.bad().DataLength = 1<<30 - uint64(len(p.data[2])) }},
		{"operation of another age", "operation 2 (MOVE): writes over what it reads", false, func(p *plan) { p.set(payload.Move, nil) }},
		{"ZUCCHINI", "operation 2 (ZUCCHINI): not one that is applied", false, func(p *plan) { p.bad().Type = payload.Zucchini }},
		{"operation that nobody knows", "operation 2 (type 77): no operation of update_engine", false, func(p *plan) { p.bad().Type = 77 }},
		{"partition of another hash", "has SHA-256", true, func(p *plan) { part(p).NewInfo.Hash[0] ^= 1 }},
	}
	return append(list, patches(tb, s)...)
}

// patches are bad data of operations that is rightly hashed and signed.
func patches(tb testing.TB, s Spec) []way {
	src := s.Old[8*block : 12*block]
	replace := func(t payload.OpType, data []byte) func(p *plan) {
		return func(p *plan) {
			p.bad().SrcExtents, p.bad().SrcHash = nil, nil
			p.set(t, data)
		}
	}
	patch := func(t payload.OpType, edit func(b []byte) []byte) func(p *plan) {
		return func(p *plan) { p.set(t, edit(bytes.Clone(p.data[2]))) }
	}
	le := func(b []byte, off int, v uint64) []byte { binary.LittleEndian.PutUint64(b[off:], v); return b }
	const bs, bx = "operation 2 (SOURCE_BSDIFF): ", "operation 2 (REPLACE_XZ): "
	return []way{
		{"xz that gets longer", bx + "data is longer than its destination", true, replace(payload.ReplaceXZ, xzOf(tb, make([]byte, 1<<20), 1<<16))},
		{"xz that gets shorter", bx + "data is shorter than its destination", true, replace(payload.ReplaceXZ, xzOf(tb, src[:block], 1<<16))},
		{"xz with a window of 1.5 GiB", bx + "xz: dictionary larger than 64 MiB", true, replace(payload.ReplaceXZ, largeWindow(xzOf(tb, src, 1<<16)))},
		{"no bzip2", "operation 2 (REPLACE_BZ): bzip2 data invalid", true, replace(payload.ReplaceBZ, src[:block])},
		{"bsdiff: no patch", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte { return src[:100] })},
		{"bsdiff: makes less", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte { return le(b, 24, block) })},
		{"bsdiff: makes 2^62 bytes", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte { return le(b, 24, 1<<62) })},
		{"bsdiff: streams of 2^63-1 bytes", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte {
			return le(le(b, 8, math.MaxInt64), 16, math.MaxInt64)
		})},
		{"bsdiff: negative length", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte { return le(b, 8, 1<<63|1) })},
		{"bsdiff: half of it", bs, true, patch(payload.SourceBSDiff, func(b []byte) []byte { return b[:len(b)/2] })},
		{"bsdiff: for more old bytes than there are", bs, true, func(p *plan) {
			p.data[2] = diff(tb, slices.Repeat(src, 2), slices.Concat(src[block:], src[:block]))
		}},
		{"puffdiff: no patch", "operation 2 (PUFFDIFF): ", true, patch(payload.Puffdiff, func(b []byte) []byte { return b })},
		{"lz4diff: no patch", "operation 2 (LZ4DIFF_BSDIFF): ", true, patch(payload.LZ4DiffBSDiff, func(b []byte) []byte { return b })},
	}
}

func xzOf(tb testing.TB, b []byte, dict int) []byte {
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dict, CheckSum: xz.CRC32}.NewWriter(&out)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// largeWindow writes into an xz stream that decoding it takes a window of
// 1.5 GiB, and makes the header's checksum right again.
func largeWindow(b []byte) []byte {
	at := bytes.IndexByte(b[12:], 0x21) + 12 + 2 // filter id, size of properties, dictionary
	b[at] = 39
	n := (int(b[12]) + 1) * 4
	binary.LittleEndian.PutUint32(b[12+n-4:], crc32.ChecksumIEEE(b[12:12+n-4]))
	return b
}
