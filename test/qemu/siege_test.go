package qemu_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	api "mios/api/repo"
	buildota "mios/build/ota"
	"mios/build/ota/input"
	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/payload"
	"mios/internal/testkit"
	"mios/key"
	"mios/publish/ota"
	"mios/publish/repo"
	"mios/publish/repotest"
)

// A mirror is what the device sees instead of the vendor's server: metadata
// from memory, payloads from the vendor, and what is special by path.
type mirror struct {
	mu      sync.Mutex
	files   map[string][]byte
	special map[string]func(next http.Handler) http.HandlerFunc
}

func (m *mirror) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		m.mu.Lock()
		b, ok := m.files[name]
		special := m.special[name]
		m.mu.Unlock()
		switch {
		case special != nil:
			special(next)(w, r)
		case ok:
			w.Write(b)
		case strings.HasPrefix(name, "metadata/"):
			http.NotFound(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// show makes the mirror one of these files, with nothing special.
func (m *mirror) show(files map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files, m.special = maps.Clone(files), map[string]func(http.Handler) http.HandlerFunc{}
}

func (m *mirror) endless(name string) {
	m.special[name] = func(http.Handler) http.HandlerFunc { return garbage }
}

// garbage never ends by itself.
func garbage(w http.ResponseWriter, _ *http.Request) {
	for b := bytes.Repeat([]byte("x"), 64<<10); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// A siege is a device, its vendor and who stands between them.
type siege struct {
	*device
	cloud  *cloud
	mirror mirror
	// What the vendor published: before the device looked first, when it did,
	// and now, with the release that it does not get to see before the end.
	old, seen, now map[string][]byte
	good           *api.OSRelease
	stranger       *key.Set
	rsa            *rsa.PrivateKey // no device trusts it
	known          map[string]mios.Digest
	mistakes, olds int64 // so many has the vendor published
}

// under makes a subtest the one that fails.
func (s *siege) under(t *testing.T) { s.device.t = t }

func (s *siege) load() map[string][]byte {
	return repotest.Load(s.device.t, s.cloud.Tree(), "metadata/", "rollout/")
}

func (s *siege) must(_ *repo.Result, err error) {
	s.device.t.Helper()
	if err != nil {
		s.device.t.Fatal(err)
	}
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{device: &device{t: t}, cloud: newCloud(t), stranger: repotest.Keys(t)}
	s.rsa = testkit.RSA(0)
	s.cloud.tamper(s.mirror.wrap)
	s.old = s.load()
	s.publishOld()
	s.seen = s.load()
	s.mirror.show(s.seen)
	s.device = boot(t, release1(t), with(s.cloud))
	s.healthy()
	s.refused("no newer release", 0)
	s.want("1 _a healthy")
	s.cloud.publish(t, release2(t))
	st, err := s.cloud.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range st.Releases {
		if r.Version == "2" {
			s.good = &st.Releases[i]
		}
	}
	s.now, s.known = s.load(), s.digests()
	return s
}

// refused checks that the device does not update itself, and what it says.
func (s *siege) refused(want string, status int) {
	s.device.t.Helper()
	said, got := s.update()
	if got != status || !strings.Contains(said, want) || strings.Contains(said, "\n") {
		s.device.t.Errorf("update_engine_client says %q with status %d, want one line with %q and %d", said, got, want, status)
	}
	s.device.t.Logf("the device says: %s", said)
}

// digests reads the disk behind the device's back.
func (s *siege) digests() map[string]mios.Digest {
	s.device.t.Helper()
	all := map[string]mios.Digest{}
	for _, name := range []string{"misc", "vbmeta_a", "vbmeta_b", "boot_a", "boot_b", "super"} {
		off, size := s.partition(name)
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(s.Disk, off, size)); err != nil {
			s.device.t.Fatal(err)
		}
		all[name] = mios.Digest(h.Sum(nil))
	}
	return all
}

func (s *siege) unchanged(names ...string) {
	s.device.t.Helper()
	now := s.digests()
	for _, name := range names {
		if now[name] != s.known[name] {
			s.device.t.Errorf("partition %s has changed", name)
		}
	}
}

// slots checks that slot a stays, and is the only one.
func (s *siege) slots() {
	s.device.t.Helper()
	off, _ := s.partition("misc")
	b := make([]byte, bootctl.ControlSize)
	if _, err := s.Disk.ReadAt(b, off+bootctl.ControlOffset); err != nil {
		s.device.t.Fatal(err)
	}
	c, err := bootctl.ParseControl(b)
	if err != nil {
		s.device.t.Fatal(err)
	}
	if i, ok := c.Choose(); !ok || i != 0 || !c.Slots[0].Successful || c.Slots[1].Bootable() {
		s.device.t.Errorf("control block is %+v, want slot a alone", c)
	}
}

// rewrite answers with other bytes than the vendor's.
func rewrite(change func(b []byte) []byte) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			b := whole(next, r)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(change(b)))
		}
	}
}

// endlessAfter answers with the first n bytes of the file, and then never ends.
func endlessAfter(n int64) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			b := whole(next, r)[:n]
			from, to := int64(0), int64(0)
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err == nil && from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, to))
				w.WriteHeader(http.StatusPartialContent)
			}
			if _, err := w.Write(b[min(from, n):]); err == nil {
				garbage(w, r)
			}
		}
	}
}

// whole is all that the vendor's server has under a request's path.
func whole(next http.Handler, r *http.Request) []byte {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	var out recorder
	next.ServeHTTP(&out, r)
	return out.Bytes()
}

// recorder keeps what a handler writes.
type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) WriteHeader(int) {}
func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

// breakAt breaks the connection at a byte of the file.
func breakAt(n int64) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			from := int64(0)
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			next.ServeHTTP(&breaking{w, max(n-from, 0)}, r)
		}
	}
}

// breaking breaks the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int64
}

func (b *breaking) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		b.ResponseWriter.Write(p[:b.left])
		http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= int64(len(p))
	return b.ResponseWriter.Write(p)
}

// mistake publishes release 2 with another vbmeta image or payload key, as its
// vendor may by mistake, and shows it. change may return who signs vbmeta.
func (s *siege) mistake(version string, payloadKey crypto.Signer, change func(m *avb.VBMeta) crypto.Signer) *api.OSRelease {
	t := s.device.t
	t.Helper()
	build := release2(t)
	s.mistakes++
	built := manifest(t, build).BuildTime + s.mistakes // newer than the good one
	rel := s.publish(build, version, built, s.payload(build, payloadKey, change, built))
	s.mirror.show(s.load())
	return rel
}

// payload makes a payload of a build's vbmeta alone: what else the slot holds
// comes later in the order in which it is verified.
func (s *siege) payload(build string, signer crypto.Signer, change func(m *avb.VBMeta) crypto.Signer, built int64) string {
	t := s.device.t
	t.Helper()
	b, err := os.ReadFile(filepath.Join(build, "vbmeta.img"))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		b = resign(t, b, change)
	}
	dir := t.TempDir()
	img := filepath.Join(dir, "vbmeta.img")
	if err := os.WriteFile(img, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		if signer, err = the.desk.Keys().Signer(key.OTA); err != nil {
			t.Fatal(err)
		}
	}
	if built == 0 {
		built = manifest(t, build).BuildTime
	}
	in, err := input.OpenImage(img, "vbmeta")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	f, err := buildota.Of(in, buildota.Options{Timestamp: built, Signers: []crypto.Signer{signer}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buildota.WriteFull(t.Context(), dir, f); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, buildota.PayloadFile)
}

// resign changes a vbmeta image and signs it again.
func resign(t *testing.T, b []byte, change func(m *avb.VBMeta) crypto.Signer) []byte {
	t.Helper()
	size, err := avb.Size(b)
	if err != nil {
		t.Fatal(err)
	}
	m, err := avb.Parse(b[:size])
	if err != nil {
		t.Fatal(err)
	}
	signer := change(m)
	if signer == nil {
		if signer, err = the.desk.Keys().Signer(key.AVB); err != nil {
			t.Fatal(err)
		}
	}
	alg, err := avb.AlgorithmFor(crypto.SHA256, signer.Public().(*rsa.PublicKey).N.BitLen())
	if err == nil {
		err = m.Sign(signer, alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return append(out, make([]byte, len(b)-len(out))...)
}

// publishOld publishes release 1, which a device with it does not want, under
// another name each time.
func (s *siege) publishOld() {
	t := s.device.t
	t.Helper()
	s.olds++
	s.publish(release1(t), fmt.Sprintf("1.%d", s.olds), 0, s.payload(release1(t), nil, nil, 0))
}

// publish publishes a payload as a release of the build's product; a build time
// of 0 is the build's own. What the publisher would refuse is said after it.
func (s *siege) publish(build, version string, built int64, file string) *api.OSRelease {
	t := s.device.t
	t.Helper()
	m := manifest(t, build)
	if built == 0 {
		built = m.BuildTime
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	md, err := payload.ReadMetadata(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r := ota.Release{
		Product: m.Product, Arch: m.Arch, Version: version, BuildTime: built, Channels: []string{m.Channel}, Regions: m.Regions, MaxShare: api.Everyone,
	}
	if md.Manifest.MaxTimestamp == built {
		rel, _, err := ota.Publish(t.Context(), s.cloud.Repo, r, file, api.Everyone)
		if err != nil {
			t.Fatal(err)
		}
		return rel
	}
	rel := &api.OSRelease{
		Target:  api.Target{Path: api.OSPath(r.Product, r.Arch, version, built), Length: int64(len(b)), SHA256: mios.Sum(b)},
		Product: r.Product, Arch: r.Arch, Version: version, BuildTime: built, Channels: r.Channels, Regions: r.Regions, MaxShare: r.MaxShare, Salt: version,
	}
	s.must(s.cloud.PublishOS(t.Context(), rel, bytes.NewReader(b), api.Everyone))
	return rel
}
