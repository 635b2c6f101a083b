package qemu_test

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/build/product"
	"mios/desk"
	"mios/format/payload"
	"mios/format/payload/payloadtest"
	"mios/key"
	"mios/publish/repo"
)

// smallBudget is what an update may fetch by itself: enough for each of the bad
// deltas, and too little for the full payload beside it, so that what the device
// says is about the delta.
const smallBudget = 40 << 10

// A spoiler is a vendor whose deltas are bad, each in one way, and rightly
// signed all the same.
type spoiler struct {
	*siege
	build string
	boot  []byte // the build's boot image
	at    int64  // build time of the newest release
}

// TestBadPayloads gives one device a release that is bad in each of the ways of
// payloadtest, as a delta from what it runs: each is refused with the
// operation's number and the reason, and what runs stays as it is. A good
// release is taken then.
func TestBadPayloads(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	build1 := build(t, desk.BuildSpec{Version: "frugal-1", Change: func(p *product.Product) { p.Update.Budget = smallBudget }})
	d := boot(t, build1, with(c))
	d.healthy()
	s := &spoiler{siege: &siege{device: d, cloud: c}, build: build1, at: manifest(t, build1).BuildTime}
	var err error
	if s.boot, err = os.ReadFile(filepath.Join(build1, "boot.img")); err != nil {
		t.Fatal(err)
	}
	s.known = s.digests()
	cases := payloadtest.Bad(t, s.spec(t))
	if len(cases) < 20 {
		t.Fatalf("%d ways of being bad, want at least 20", len(cases))
	}
	for i := range cases {
		t.Run(cases[i].Name, func(t *testing.T) {
			s.under(t)
			s.at++
			c := payloadtest.Bad(t, s.spec(t))[i] // of a newer release than the one before
			s.publishDelta(fmt.Sprintf("bad-%d", i), c.Payload)
			was := s.other()
			s.refused(reason(c), 1)
			if !c.Dirty && !bytes.Equal(s.other(), was) {
				t.Errorf("it was refused, and something was written")
			}
			s.slots()
			s.want("frugal-1 _a healthy")
		})
	}
	s.under(t)
	s.unchanged("vbmeta_a", "boot_a", "super")
	good := build(t, desk.BuildSpec{Version: "frugal-2", After: s.at})
	c.publish(t, good)
	d.client("--update --unmetered")
	d.healthyOn("_b")
	d.want("frugal-2 _b healthy")
}

// reason is what the device says of a case. A file that ends early is one that
// its own manifest contradicts, before any operation.
func reason(c payloadtest.Case) string {
	if c.Name == "data ends early" {
		return "bytes by its manifest, and"
	}
	return c.Want
}

func (s *spoiler) spec(t *testing.T) payloadtest.Spec {
	t.Helper()
	signer, err := the.desk.Keys().Signer(key.OTA)
	if err != nil {
		t.Fatal(err)
	}
	return payloadtest.Spec{Partition: "boot", Old: s.boot, MaxTimestamp: s.at, Signers: []crypto.Signer{signer}}
}

// other returns what a bad release would write: the beginning of the other
// slot's boot partition.
func (s *spoiler) other() []byte {
	t := s.device.t
	t.Helper()
	off, _ := s.partition("boot_b")
	b := make([]byte, 12*payload.DefaultBlockSize)
	if _, err := io.ReadFull(io.NewSectionReader(s.Disk, off, int64(len(b))), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// publishDelta publishes a delta from what the device runs, with a full payload
// that makes the same.
func (s *spoiler) publishDelta(version string, delta []byte) {
	t := s.device.t
	t.Helper()
	spec := s.spec(t)
	good, made := payloadtest.Good(t, spec)
	md, err := payload.ReadMetadata(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	info := md.Manifest.Partitions[0].NewInfo
	if md, err := payload.ReadMetadata(bytes.NewReader(delta)); err == nil {
		info = md.Manifest.Partitions[0].NewInfo // or it would not be of this release
	}
	full := payloadtest.Whole(t, spec, info, made)
	vbmeta, err := os.ReadFile(filepath.Join(s.build, "vbmeta.img"))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest(t, s.build)
	rel := &api.OSRelease{
		Product: m.Product, Arch: m.Arch, Version: version, BuildTime: s.at,
		Channels: []string{m.Channel}, Regions: m.Regions, MaxShare: api.Everyone, Salt: version,
	}
	target := func(name string, b []byte) api.Target {
		return api.Target{Path: name, Length: int64(len(b)), SHA256: mios.Sum(b)}
	}
	rel.Target = target(api.OSPath(m.Product, m.Arch, version, s.at), full)
	from := mios.Sum(vbmeta)
	way := api.Delta{From: from, FromSize: int64(len(vbmeta)), Target: target(path.Join(path.Dir(rel.Target.Path), api.DeltaFile(from)), delta)}
	rel.Deltas = []api.Delta{way}
	if int64(len(delta)) > smallBudget/2 || len(full) < smallBudget {
		t.Fatalf("a delta of %d bytes and a full payload of %d: the budget of %d is wrong", len(delta), len(full), smallBudget)
	}
	s.must(s.cloud.PublishOS(t.Context(), rel, bytes.NewReader(full), api.Everyone, repo.File{Target: way.Target, Content: bytes.NewReader(delta)}))
}
