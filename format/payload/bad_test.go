package payload_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"io"
	mrand "math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"mios"
	"mios/format/payload"
	"mios/format/payload/payloadtest"
	"mios/internal/testkit"
)

// disk is a partition that counts its writes.
type disk struct {
	b      []byte
	writes atomic.Int32
}

func (d *disk) WriteAt(b []byte, off int64) (int, error) {
	d.writes.Add(1)
	return copy(d.b[off:], b), nil
}

func (d *disk) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(d.b).ReadAt(b, off) }

func spec() payloadtest.Spec {
	rng := mrand.New(mrand.NewPCG(3, 4))
	old := make([]byte, 16*payload.DefaultBlockSize)
	for i := range old {
		old[i] = byte(rng.Uint32())
	}
	return payloadtest.Spec{Partition: "system", Old: old, MaxTimestamp: 1700000000, Signers: []crypto.Signer{testkit.RSA(0)}}
}

// apply applies a payload as a device does, or, side by side, as a host does.
func apply(b, old []byte, sideBySide bool) (*disk, error) {
	d := new(disk)
	r := bytes.NewReader(b)
	md, err := payload.ReadMetadata(r)
	if err != nil {
		return d, err
	}
	d.b = make([]byte, 12*payload.DefaultBlockSize)
	keys := []*rsa.PublicKey{&testkit.RSA(0).PublicKey}
	source := func(string) (io.ReaderAt, error) { return bytes.NewReader(old), nil }
	target := func(string) (io.WriterAt, error) { return d, nil }
	if sideBySide {
		x := &payload.Extraction{Metadata: md, Keys: keys, Source: source, Target: target, Workers: 2}
		err = x.Run(context.Background(), r)
	} else {
		a := &payload.Applier{Metadata: md, Keys: keys, Source: source, Target: target}
		_, err = a.Apply(context.Background(), r, md.Start())
	}
	if err == nil {
		err = md.Manifest.VerifyPartition(context.Background(), "system", d)
	}
	return d, err
}

// TestBad wants each bad payload refused with the operation's number and the
// reason, and those that can be known before it without a byte written.
func TestBad(t *testing.T) {
	s := spec()
	good, want := payloadtest.Good(t, s)
	cases := payloadtest.Bad(t, s)
	if len(cases) < 20 {
		t.Fatalf("%d ways of being bad, want at least 20", len(cases))
	}
	for _, sideBySide := range []bool{false, true} {
		if d, err := apply(good, s.Old, sideBySide); err != nil || !bytes.Equal(d.b, want) {
			t.Fatalf("the good payload, side by side %v: %v", sideBySide, err)
		}
		for _, c := range cases {
			if sideBySide && strings.Contains(c.Want, "want at most") {
				continue // what lies in a file may be longer
			}
			d, err := apply(c.Payload, s.Old, sideBySide)
			if err == nil || !strings.Contains(err.Error(), c.Want) {
				t.Errorf("%s, side by side %v: %v, want %q", c.Name, sideBySide, err, c.Want)
			}
			var fe *payload.FormatError
			if !errors.Is(err, mios.ErrInvalid) && !errors.As(err, &fe) {
				t.Errorf("%s: %v is no ErrInvalid", c.Name, err)
			}
			if d.writes.Load() > 0 && !c.Dirty {
				t.Errorf("%s, side by side %v: %d writes", c.Name, sideBySide, d.writes.Load())
			}
		}
	}
}

// TestAnotherSource wants a device with another system left alone.
func TestAnotherSource(t *testing.T) {
	s := spec()
	good, _ := payloadtest.Good(t, s)
	for _, off := range []int{0, 5 * payload.DefaultBlockSize, len(s.Old) - 1} {
		old := bytes.Clone(s.Old)
		old[off] ^= 1
		for _, sideBySide := range []bool{false, true} {
			d, err := apply(good, old, sideBySide)
			if !errors.Is(err, payload.ErrSource) || d.writes.Load() > 0 {
				t.Errorf("byte %d changed: %v after %d writes, want ErrSource after none", off, err, d.writes.Load())
			}
		}
	}
}

func FuzzDelta(f *testing.F) {
	s := spec()
	s.Signers = nil
	good, _ := payloadtest.Good(f, s)
	f.Add(good)
	for _, c := range payloadtest.Bad(f, s) {
		if len(c.Payload) < 1<<16 {
			f.Add(c.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		md, err := payload.ReadMetadata(r)
		if err != nil {
			return
		}
		for _, p := range md.Manifest.Partitions {
			if p.NewInfo != nil && p.NewInfo.Size > 1<<20 {
				return
			}
		}
		d := &disk{b: make([]byte, 1<<20)}
		a := &payload.Applier{Metadata: md, Source: func(string) (io.ReaderAt, error) { return bytes.NewReader(s.Old), nil },
			Target: func(string) (io.WriterAt, error) { return d, nil }}
		_, streamed := a.Apply(t.Context(), r, md.Start())
		e := &disk{b: make([]byte, 1<<20)}
		x := &payload.Extraction{Metadata: md, Source: a.Source, Target: func(string) (io.WriterAt, error) { return e, nil }, Workers: 2}
		together := x.Run(t.Context(), bytes.NewReader(in))
		if streamed == nil && (together != nil || !bytes.Equal(d.b, e.b)) {
			t.Errorf("a stream is applied, and side by side %v", together)
		}
	})
}
