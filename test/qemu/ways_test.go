package qemu_test

import (
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mios/build/image"
	"mios/desk"
)

// publishWays publishes a build with further ways to it.
func (c *cloud) publishWays(t *testing.T, build string, w desk.Ways) {
	t.Helper()
	the.mu.Lock()
	defer the.mu.Unlock()
	if _, _, err := the.desk.PublishWays(t.Context(), c.Repo, build, w, nil); err != nil {
		t.Fatal(err)
	}
}

// count counts the bytes of a release's files that the device is sent.
func (c *cloud) count() *atomic.Int64 {
	n := new(atomic.Int64)
	c.tamper(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/os/") {
				w = &counting{w, n}
			}
			next.ServeHTTP(w, r)
		})
	})
	return n
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// TestWays takes a device through releases by each way: the chunks when it is two
// releases behind, a delta, and the chunks again when the delta turns out to be
// of something else than what the device has.
func TestWays(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var builds []string
	for i, version := range []string{"ways-1", "ways-2", "ways-3", "ways-4", "ways-5"} {
		s := desk.BuildSpec{Version: version, Extra: news(i, 1<<20)}
		if i > 0 {
			s.After = manifest(t, builds[i-1]).BuildTime
		}
		builds = append(builds, build(t, s))
	}
	d := boot(t, builds[0], with(c))
	d.healthy()

	step := func(i int, way, why, slot string, most int64) {
		t.Helper()
		sent := c.count()
		said := d.client("--update --follow")
		d.healthyOn(slot)
		d.want(manifest(t, builds[i]).Version + " " + slot + " healthy")
		if want := manifest(t, builds[i]).Version + ", " + way; !strings.Contains(said, want) {
			t.Errorf("update_engine_client --follow says %q, want %q", said, want)
		}
		if n := sent.Load(); n > most {
			t.Errorf("to %s: %d bytes were sent, want at most %d", manifest(t, builds[i]).Version, n, most)
		}
		if log := d.shell("cat /data/ota/state.json"); !strings.Contains(log, why) {
			t.Errorf("the updater's record is %s, want that it knows %q", log, why)
		}
	}
	c.publishWays(t, builds[1], desk.Ways{From: builds[:1], Chunks: true})
	c.publishWays(t, builds[2], desk.Ways{From: builds[1:2], Chunks: true})
	step(2, "adaptive", "full would fetch", "_b", 2<<20)
	c.publishWays(t, builds[3], desk.Ways{From: builds[2:3], Chunks: true})
	step(3, "delta", "delta fetches", "_a", 3<<19)
	c.publishWays(t, builds[4], desk.Ways{From: []string{another(t, builds[3])}, Chunks: true})
	step(4, "adaptive", "delta did not fit: ", "_b", 3<<20)
}

// news is a file of size bytes that compresses badly, another one for each
// seed.
func news(seed, size int) map[string][]byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return map[string][]byte{"/system/etc/news": b}
}

// another returns a build whose vbmeta is the given one's, and whose system
// partition is not.
func another(t *testing.T, build string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "another")
	err := filepath.WalkDir(build, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != build && e.IsDir():
			return fs.SkipDir
		case name == build:
			return os.MkdirAll(dir, 0o755)
		case filepath.Ext(name) != ".img" || e.Name() == "disk.img":
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if e.Name() == "system.img" {
			b[len(b)/2] ^= 1
		}
		return os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, image.BootImage)); err != nil {
		t.Fatal(err)
	}
	return dir
}
