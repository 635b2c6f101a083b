package records_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/internal/testkit"
	"mios/key"
	"mios/publish/repo"
	"mios/publish/repo/records"
	"mios/publish/repotest"
	"mios/storage"
	"mios/storage/tree"
)

// publisherEnv makes the test's program a publisher, on the place it names.
const publisherEnv = "MIOS_TEST_PUBLISHER"

func TestMain(m *testing.M) {
	if os.Getenv(publisherEnv) != "" {
		if err := publisher(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A place is where a repository lives: what its processes are told.
type place struct {
	dir     string // for its configuration too, where there is no database
	records string // a database's URL, or ""
	tree    string // a tree's URL, or "" for the one in dir
	keys    string
	unsafe  bool // nobody waits for the lock
}

func (p place) String() string {
	return fmt.Sprintf("%s\n%s\n%s\n%s\n%v", p.dir, p.records, p.tree, p.keys, p.unsafe)
}

// unlocked is a state whose lock everybody gets at once: as if it had been lost.
type unlocked struct{ repo.State }

func (unlocked) Lock(context.Context) (func(), error) { return func() {}, nil }

// options returns how a process opens the repository.
func (p place) options(ctx context.Context) ([]repo.Option, error) {
	var opts []repo.Option
	if p.tree != "" {
		t, err := storage.Tree(ctx, p.tree)
		if err != nil {
			return nil, err
		}
		opts = append(opts, repo.WithTree(t))
	}
	state := repo.Folder(p.dir)
	if p.records != "" {
		db, err := storage.Records(ctx, p.records)
		if err != nil {
			return nil, err
		}
		if state, err = records.Open(ctx, db, "test"); err != nil {
			return nil, err
		}
	}
	if p.unsafe {
		state = unlocked{state}
	}
	return append(opts, repo.WithState(state)), nil
}

func (p place) open(ctx context.Context) (*repo.Repo, error) {
	keys, err := key.Open(p.keys, nil)
	if err != nil {
		return nil, err
	}
	opts, err := p.options(ctx)
	if err != nil {
		return nil, err
	}
	return repo.Open(p.dir, append(opts, repo.WithKeys(keys))...)
}

var owner = mios.Sum([]byte("owner"))

func release(pkg string, n int64) repo.App {
	apk := fmt.Sprintf("%s %d", pkg, n)
	target := api.Target{Path: api.AppPath(pkg, n), Length: int64(len(apk)), SHA256: mios.Sum([]byte(apk))}
	return repo.App{
		Package: api.Package{Package: pkg, Releases: []api.AppRelease{{
			Release: n, Target: target, Package: pkg, VersionCode: n, Signers: []mios.Digest{owner}, Tracks: []string{api.TrackProduction}, Share: api.Everyone,
		}}},
		Listing: &api.Listing{Package: pkg, Categories: []string{"all"}, Locales: map[string]api.LocaleListing{"en-US": {Name: "App " + pkg}}},
		Files:   []repo.File{{Target: target, Content: strings.NewReader(apk)}},
	}
}

// publisher publishes what it reads, "PACKAGE NUMBER" a line, and says so when
// each is done.
func publisher(ctx context.Context) error {
	text := strings.Split(os.Getenv(publisherEnv), "\n")
	p := place{dir: text[0], records: text[1], tree: text[2], keys: text[3], unsafe: text[4] == "true"}
	r, err := p.open(ctx)
	if err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var pkg string
		var n int64
		if _, err := fmt.Sscan(in.Text(), &pkg, &n); err != nil {
			return err
		}
		if n == 1 {
			if _, err := r.Claim(ctx, api.Claim{Package: pkg, Signers: []mios.Digest{owner}}); err != nil {
				return err
			}
		}
		if _, err := r.SetApps(ctx, release(pkg, n)); err != nil {
			return err
		}
		fmt.Println(in.Text())
	}
	return in.Err()
}

// A process is a publisher at work.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	log *strings.Builder
}

func (p place) start(t *testing.T) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), publisherEnv+"="+p.String())
	pr := &process{cmd: cmd, log: new(strings.Builder)}
	cmd.Stderr = pr.log
	var err error
	if pr.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	pr.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return pr
}

// publish tells whether the process said that it is done.
func (pr *process) publish(pkg string, n int64) bool {
	fmt.Fprintf(pr.in, "%s %d\n", pkg, n)
	return pr.out.Scan() && pr.out.Text() == fmt.Sprintf("%s %d", pkg, n)
}

// TestProcesses has two processes publish to one repository at the same time, and
// one of them killed again and again: whatever one has said is done stays so.
func TestProcesses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		place func(t *testing.T) place
	}{
		{"folder", func(t *testing.T) place { return place{} }},
		{"folder without a lock", func(t *testing.T) place { return place{unsafe: true} }},
		{"PostgreSQL and S3", func(t *testing.T) place { return place{records: testkit.Postgres(t), tree: testkit.S3(t)} }},
		{"PostgreSQL and S3 without a lock", func(t *testing.T) place {
			return place{records: testkit.Postgres(t), tree: testkit.S3(t), unsafe: true}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.place(t)
			p.dir = filepath.Join(t.TempDir(), "repo")
			keys := repotest.Keys(t)
			p.keys = keys.Dir()
			opts, err := p.options(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r, err := repo.Init(t.Context(), p.dir, keys, repo.InitOptions{AppBits: 1, ClaimBits: 1}, opts...)
			if err != nil {
				t.Fatal(err)
			}
			race(t, p)
			check(t, r)
		})
	}
}

const (
	apps     = 6 // of each process
	versions = 3
)

// race has two processes publish, and kills the second at random moments. What
// it had begun then it begins again.
func race(t *testing.T, p place) {
	t.Helper()
	var wg sync.WaitGroup
	kills := 0
	for i := range 2 {
		wg.Go(func() {
			pr := p.start(t)
			for n := int64(1); n <= versions; n++ {
				for j := range apps {
					pkg := fmt.Sprintf("org.example.p%d.app%d", i, j)
					var kill *time.Timer
					if i == 1 && kills < 8 && j%2 == 0 {
						kills++
						victim := pr.cmd.Process // and not who takes its place
						kill = time.AfterFunc(rand.N(60*time.Millisecond), func() { victim.Kill() })
					}
					for tries := 0; !pr.publish(pkg, n); tries++ {
						pr.cmd.Wait()
						if kill == nil || tries == 2 {
							t.Errorf("process %d failed at %s %d: %s", i, pkg, n, pr.log)
							return
						}
						pr = p.start(t)
					}
					if kill != nil && !kill.Stop() { // it may be dying
						pr.cmd.Process.Kill()
						pr.cmd.Wait()
						pr = p.start(t)
					}
				}
			}
			pr.in.Close()
			if err := pr.cmd.Wait(); err != nil {
				t.Errorf("process %d: %v: %s", i, err, pr.log)
			}
		})
	}
	wg.Wait()
	t.Logf("killed %d times", kills)
}

type treeFetcher struct{ tree.Tree }

func (f treeFetcher) Get(ctx context.Context, path string, max int64) ([]byte, error) {
	return tree.ReadAll(ctx, f.Tree, path, max)
}

// check wants all that was said to be done there, once, for a device.
func check(t *testing.T, r *repo.Repo) {
	t.Helper()
	root, err := tree.ReadAll(t.Context(), r.Tree(), api.MetadataPath("root", 1), api.MaxRoot)
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.Open(api.Config{Dir: t.TempDir(), Root: root, Fetcher: treeFetcher{r.Tree()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		for j := range apps {
			pkg := fmt.Sprintf("org.example.p%d.app%d", i, j)
			list, err := c.AppVersions(t.Context(), pkg)
			if err != nil || len(list) != 1 || list[0].Release != versions {
				t.Errorf("%s: releases %+v, %v; want release %d alone", pkg, list, err, versions)
			}
		}
	}
	page, err := c.Page(t.Context(), "all", 0, "en-US")
	if err != nil || len(page) != 2*apps {
		t.Errorf("the catalogue has %d apps, %v; want %d", len(page), err, 2*apps)
	}
	found, err := c.Search(t.Context(), "app", "")
	if err != nil || len(found) != 2*apps {
		t.Errorf("Search finds %d apps, %v; want %d", len(found), err, 2*apps)
	}
}

// TestState holds a database to what a folder does.
func TestState(t *testing.T) {
	ctx := t.Context()
	db, err := storage.Records(ctx, "sqlite:"+filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := records.Open(ctx, db, "one")
	if err != nil {
		t.Fatal(err)
	}
	other, err := records.Open(ctx, db, "other")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Write(ctx, "staged/x.json", []byte("other")); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]repo.State{"folder": repo.Folder(t.TempDir()), "rows": rows} {
		if _, err := s.Read(ctx, "staged/x.json"); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("%s: Read of nothing = %v, want not found", name, err)
		}
		for _, b := range []string{"first", "second"} {
			if err := s.Write(ctx, "staged/x.json", []byte(b)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := s.Read(ctx, "staged/x.json"); err != nil || string(got) != b {
				t.Errorf("%s: Read = %q, %v; want %q", name, got, err, b)
			}
		}
		if err := s.Write(ctx, "repo.json", []byte("{}")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if names, err := s.List(ctx, "staged"); err != nil || len(names) != 1 || names[0] != "staged/x.json" {
			t.Errorf("%s: List = %q, %v", name, names, err)
		}
		unlock, err := s.Lock(ctx)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		unlock()
		for range 2 {
			if err := s.Remove(ctx, "staged/x.json"); err != nil {
				t.Errorf("%s: Remove = %v", name, err)
			}
		}
		if names, err := s.List(ctx, "staged"); err != nil || len(names) != 0 {
			t.Errorf("%s: List after Remove = %q, %v", name, names, err)
		}
	}
}
