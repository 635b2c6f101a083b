package ota

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/api"
	"mios/api/repo"
	"mios/device/bootrecord"
	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/payload"
	"mios/internal/testkit"
)

const (
	vbmetaSize = 64 << 10
	bootSize   = 128 << 10
	systemSize = 2<<20 + 256<<10 // two operations
	systemData = 2 << 20         // of it, without the hash tree
)

// keys are the product's, and somebody else's.
type keys struct{ avb, otherAVB, ota, otherOTA *rsa.PrivateKey }

func testKeys() keys {
	return keys{testkit.RSA(0), testkit.RSA(1), testkit.RSA(2), testkit.RSA(3)}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A build is one release: what the partitions of a slot hold.
type build struct {
	version   string
	time      int64
	rollback  uint64
	avbKey    *rsa.PrivateKey
	otaKey    *rsa.PrivateKey
	flags     avb.Flags
	product   string // in vbmeta's fingerprint
	leave     string // a partition that vbmeta does not vouch for
	wrongTree bool
	partial   bool   // the payload leaves boot out
	like      *build // whose images it has, but for a few places

	images map[string][]byte
}

type writerAt []byte

func (w writerAt) WriteAt(p []byte, off int64) (int, error) { return copy(w[off:], p), nil }

// newBuild makes a release; edit may spoil it.
func newBuild(version string, time int64, edit func(*build)) *build {
	k := testKeys()
	b := &build{version: version, time: time, rollback: 1, product: "iot", avbKey: k.avb, otaKey: k.ota}
	if edit != nil {
		edit(b)
	}
	rng := mrand.New(mrand.NewPCG(uint64(time), 1))
	noise := func(n int) []byte {
		p := make([]byte, n)
		for i := 0; i+8 <= n; i += 8 {
			v := rng.Uint64()
			for j := range 8 {
				p[i+j] = byte(v >> (8 * j))
			}
		}
		return p
	}
	b.images = map[string][]byte{"boot": noise(bootSize), "system": noise(systemSize)}
	if b.like != nil {
		for name, image := range b.like.images {
			b.images[name] = bytes.Clone(image)
		}
		copy(b.images["system"][300<<10:], noise(40<<10))
		copy(b.images["boot"][64<<10:], noise(100))
	}
	tree := must(avb.HashtreeSize(systemData, "sha256"))
	system, data := b.images["system"], int64(systemData)
	root := must(avb.WriteHashtree(writerAt(system[data:data+tree]), bytes.NewReader(system), data, "sha256", nil))
	if b.wrongTree {
		system[data] ^= 1
	}
	sum := sha256.Sum256(b.images["boot"])
	m := &avb.VBMeta{RollbackIndex: b.rollback, Flags: b.flags, Release: "mios"}
	if b.leave != "boot" {
		m.Descriptors = append(m.Descriptors, &avb.HashDescriptor{ImageSize: bootSize, HashAlgorithm: "sha256", PartitionName: "boot", Digest: sum[:]})
	}
	if b.leave != "system" {
		m.Descriptors = append(m.Descriptors, &avb.HashtreeDescriptor{DMVerityVersion: 1, ImageSize: uint64(data), TreeOffset: uint64(data),
			TreeSize: uint64(tree), DataBlockSize: 4096, HashBlockSize: 4096, HashAlgorithm: "sha256", PartitionName: "system", RootDigest: root})
	}
	m.Descriptors = append(m.Descriptors, &avb.PropertyDescriptor{Key: fingerprint, Value: []byte(b.product + "/" + b.version + "/user")})
	if err := m.Sign(b.avbKey, avb.SHA256RSA2048); err != nil {
		panic(err)
	}
	b.images["vbmeta"] = append(must(m.Bytes()), make([]byte, vbmetaSize)...)[:vbmetaSize]
	return b
}

// release returns the payload of a build, and what the repository says of it.
func (b *build) release() (*repo.OSRelease, []byte) {
	f := payload.Full{MaxTimestamp: b.time, Signers: []crypto.Signer{b.otaKey}, Workers: 1}
	if b.partial {
		f.PartialUpdate, f.MinorVersion = true, 7
	}
	for _, name := range []string{"system", "boot", "vbmeta"} {
		if b.partial && name == "boot" {
			continue
		}
		f.Images = append(f.Images, payload.Image{Name: name, Content: bytes.NewReader(b.images[name]), Size: int64(len(b.images[name]))})
	}
	var out bytes.Buffer
	props := must(f.Write(context.Background(), &out, new(spool)))
	values := map[string]string{}
	for line := range strings.Lines(props.String()) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[k] = v
	}
	return &repo.OSRelease{
		Product: "iot", Arch: mios.AMD64, Version: b.version, Notes: "Starts faster.\nNeeds less.", BuildTime: b.time, Channels: []string{"stable"}, Properties: values,
		Target: repo.Target{Path: "os/iot/payload.bin", Length: int64(out.Len()), SHA256: mios.Sum(out.Bytes())},
	}, out.Bytes()
}

type spool struct {
	bytes.Buffer
	r *bytes.Reader
}

func (s *spool) Read(p []byte) (int, error) {
	if s.r == nil {
		s.r = bytes.NewReader(s.Bytes())
	}
	return s.r.Read(p)
}

func (s *spool) Seek(int64, int) (int64, error) { s.r = nil; return 0, nil }

// The releases that the tests install, made once.
var (
	one        = sync.OnceValue(func() *build { return newBuild("1", 1000, nil) })
	two        = sync.OnceValue(func() *build { return newBuild("2", 2000, nil) })
	twoRelease = sync.OnceValues(func() (*repo.OSRelease, []byte) { return two().release() })
)

// errCut is the panic of a power cut.
var errCut = errors.New("power cut")

// A world is a device with a disk that loses what was not flushed, its loader,
// and the repository.
type world struct {
	t   *testing.T
	rng *mrand.Rand

	// Every write, sync and save is an event; the power is cut at event cutAt.
	events, cutAt int
	running, dead bool

	media, cached map[string][]byte
	dirty         map[string][][2]int // of what was not flushed: from, to
	files         map[string][]byte

	builds  []*build // that the loader knows
	release *repo.OSRelease
	payload []byte
	ways    map[string][]byte // other files of the release
	broken  string            // a file of which half is sent
	offer   error             // instead of a release
	fresh   error             // what CheckFresh says

	mu         sync.Mutex // over events, writes and opened
	fetched    int64      // bytes
	opened     []int64
	fetchErr   error
	breakAt    int64                      // the network fails after so many bytes of each request; 0 is never
	checker    func(version string) error // health
	device     api.Device
	bootID     int
	slot       string
	status     Status // when the last boot ended
	rebooted   bool
	rebootErrs int             // how often a reboot will be refused
	crashes    map[string]bool // versions whose system dies before the engine
	stored     uint64          // rollback index
	forget     func(name string)
	props      map[string]string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, rng: mrand.New(mrand.NewPCG(1, 1)), media: map[string][]byte{}, dirty: map[string][][2]int{}, cached: map[string][]byte{}, files: map[string][]byte{},
		builds: []*build{one(), two()}, checker: func(string) error { return nil }, crashes: map[string]bool{}, props: map[string]string{}, stored: 1}
	w.release, w.payload = twoRelease()
	w.device = api.Device{Product: "iot", Arch: mios.AMD64, Channel: "stable", Update: api.Update{Interval: 3600, AutoReboot: true}}
	for _, slot := range []string{"_a", "_b"} {
		for name, b := range one().images {
			w.media[name+slot] = bytes.Clone(b)
			if slot == "_b" {
				clear(w.media[name+slot])
			}
		}
	}
	misc := make([]byte, 8192)
	copy(misc[bootctl.ControlOffset:], must(bootctl.New(2, 7).Bytes()))
	w.media["misc"] = misc
	w.lose()
	return w
}

// lose makes the cache what the medium has.
func (w *world) lose() {
	for name, b := range w.media {
		w.cached[name] = bytes.Clone(b)
	}
}

// event cuts the power if it is time.
func (w *world) event() {
	if w.gone() {
		panic(errCut)
	}
}

// gone counts an event and tells whether the power is cut.
func (w *world) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running {
		return false
	}
	w.events++
	w.dead = w.dead || w.events == w.cutAt
	return w.dead
}

// cut is what a power cut does to the disk: each sector that was not flushed is
// on the medium, or not.
func (w *world) cut() {
	for name, spans := range w.dirty {
		for _, d := range spans {
			for off := d[0] &^ 511; off < d[1]; off += 512 {
				if w.rng.IntN(2) == 0 {
					copy(w.media[name][off:off+512], w.cached[name][off:])
				} else {
					copy(w.cached[name][off:off+512], w.media[name][off:])
				}
			}
		}
	}
	clear(w.dirty)
}

// fakePart is a partition of the world's disk.
type fakePart struct {
	w    *world
	name string
}

func (w *world) Open(name string) (Partition, error) {
	if w.cached[name] == nil {
		return nil, fmt.Errorf("partition %s: %w", name, mios.ErrNotFound)
	}
	return &fakePart{w, name}, nil
}

func (p *fakePart) ReadAt(b []byte, off int64) (int, error) {
	return bytes.NewReader(p.w.cached[p.name]).ReadAt(b, off)
}

func (p *fakePart) WriteAt(b []byte, off int64) (int, error) {
	if p.w.gone() {
		return 0, errCut // no panic: a hash tree is written from several goroutines
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.slot != "" && strings.HasSuffix(p.name, p.w.slot) {
		p.w.t.Errorf("write to %s, which runs", p.name)
	}
	p.w.dirty[p.name] = append(p.w.dirty[p.name], [2]int{int(off), int(off) + len(b)})
	return copy(p.w.cached[p.name][off:], b), nil
}

func (p *fakePart) Sync() error {
	p.w.event()
	for _, d := range p.w.dirty[p.name] {
		copy(p.w.media[p.name][d[0]:d[1]], p.w.cached[p.name][d[0]:])
	}
	delete(p.w.dirty, p.name)
	return nil
}

func (p *fakePart) Forget() error {
	if p.w.forget != nil {
		p.w.forget(p.name)
	}
	return nil
}
func (p *fakePart) Size() int64  { return int64(len(p.w.cached[p.name])) }
func (p *fakePart) Close() error { return nil }

// load is the loader: it returns what boots, and fails the test if nothing does.
func (w *world) load() *build {
	misc := &fakePart{w, "misc"}
	for range 20 {
		c := must(bootctl.ParseControl(w.cached["misc"][bootctl.ControlOffset:]))
		i, ok := c.Choose()
		if !ok {
			w.t.Fatalf("no slot boots: %+v", c)
		}
		w.slot = ""
		c.Take(i)
		slot := bootctl.Suffix(i)
		b := w.whole(slot)
		if b == nil {
			c.MarkUnbootable(i)
			must(0, bootrecord.Add(misc, bootrecord.Refusal{Slot: slot, Partition: "system" + slot, Reason: "hash mismatch"}))
		}
		must(misc.WriteAt(must(c.Bytes()), bootctl.ControlOffset))
		misc.Sync()
		if b != nil && !w.crashes[b.version] {
			w.slot = slot
			w.bootID++
			return b
		}
	}
	w.t.Fatal("the device does not stop to reboot")
	return nil
}

// whole returns the build that a slot holds, or nil.
func (w *world) whole(slot string) *build {
	for _, b := range w.builds {
		same := true
		for name, image := range b.images {
			same = same && bytes.Equal(w.cached[name+slot], image)
		}
		if same {
			return b
		}
	}
	return nil
}

func (w *world) config(b *build, props Properties) Config {
	d := w.device
	d.Version, d.BuildTime = b.version, b.time
	return Config{
		Device: &d, ID: "device", Slot: w.slot, BootID: fmt.Sprint(w.bootID), Disk: w, Store: fakeStore{w}, Repository: fakeRepo{w}, Fetcher: fakeRepo{w},
		Properties: props, Health: checkFunc(func() error { return w.checker(b.version) }),
		PayloadKeys: []*rsa.PublicKey{&testKeys().ota.PublicKey}, AVBKey: must(avb.EncodePublicKey(&testKeys().avb.PublicKey)),
		RollbackIndex: func(uint32) (uint64, error) { return w.stored, nil },
		Jitter:        func(d time.Duration) time.Duration { return d },
	}
}

// boot boots once, until the device reboots, loses its power, or done says of a
// status that this is enough. It returns what ran. A test that boots runs in a
// synctest bubble.
func (w *world) boot(done func(Status) bool) (ran *build) {
	ran = w.load()
	ctx, cancel := context.WithTimeout(context.Background(), 30*24*time.Hour) // of the bubble's clock
	defer cancel()
	w.rebooted = false
	e := New(w.config(ran, &fakeProps{w: w, reboot: cancel}))
	e.every = 1
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		e.Follow(ctx, func(s Status) bool {
			if done != nil && done(s) {
				cancel()
			}
			return ctx.Err() == nil
		})
	})
	defer cancel()
	defer func() {
		w.running = false
		w.status, _ = e.Status()
		if r := recover(); r == errCut {
			w.cut()
		} else if r != nil {
			panic(r)
		}
	}()
	w.running, w.dead = true, false
	if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
		w.t.Fatalf("Run = %v with status %+v", err, w.status)
	}
	return ran
}

// rests says that the engine has looked for a release and has nothing more to
// do.
func rests(s Status) bool {
	return s.looked && !s.State.moving() && s.State != NeedReboot
}

// until boots until the engine rests, and returns what then runs.
func (w *world) until(done func(Status) bool) *build {
	for range 12 {
		end := false
		ran := w.boot(func(s Status) bool {
			end = end || done(s)
			return end
		})
		if end {
			return ran
		}
	}
	w.t.Fatalf("the engine does not come to rest: %+v", w.status)
	return nil
}

func (w *world) control() *bootctl.Control {
	return must(bootctl.ParseControl(w.cached["misc"][bootctl.ControlOffset:]))
}
