// Package repo measures a repository of many apps: what it costs to publish one
// of them, and what a device fetches to update one.
//
//	make bench BENCH=Repo
package repo_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/device/fetch"
	"mios/publish/repo"
	"mios/publish/repotest"
	serve "mios/serve/repo"
)

// counts are the numbers of apps that are compared; a device is measured at
// the middle one.
var counts = []int{100, 5000, 10000}

// rounds is how often an app is published in each repository, in turns.
func rounds(b *testing.B) int {
	s := os.Getenv("MIOS_BENCH_RUNS")
	if s == "" {
		return 31
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("MIOS_BENCH_RUNS=%s: want a number of 1 or more", s)
	}
	return n
}

var owner = mios.Sum([]byte("owner"))

// words make names and summaries.
var words = strings.Fields(`simple open notes music weather map photo mail chess timer radio news budget reader scanner wallet
	habit torch compass calendar recipe podcast sketch keyboard launcher gallery puzzle metro bike sleep ocean garden planet`)

func word(i int) string { return words[i%len(words)] }

func packageName(i int) string { return fmt.Sprintf("org.%s.%s%d", word(i*7+3), word(i), i) }

// app is version n of the i-th app: four releases, in two languages.
func app(i, n int) repo.App {
	pkg := packageName(i)
	a := repo.App{
		Package: api.Package{Package: pkg},
		Listing: &api.Listing{
			Package: pkg, Added: 1_600_000_000 + int64(i)*3600, Author: "Team " + word(i/40), License: "GPL-3.0-only", Categories: []string{"Category " + word(i%17)},
			Locales: map[string]api.LocaleListing{
				"en-US": {
					Name: fmt.Sprintf("%s %s %d", word(i), word(i/7), i), Summary: fmt.Sprintf("A %s for your %s and %s", word(i), word(i*3), word(i*5)),
					Description: strings.Repeat("What it does, in some words. ", 20),
				},
				"de": {Name: fmt.Sprintf("%s Übersicht %d", word(i), i), Summary: "Kurz gesagt"},
			},
		},
	}
	for v := n; v > max(0, n-4); v-- {
		apk := fmt.Sprintf("%s %d", pkg, v)
		r := api.AppRelease{
			Release: int64(v), Time: 1_790_000_000 + int64(v), Package: pkg, VersionCode: int64(v), VersionName: fmt.Sprintf("1.%d", v), Label: word(i),
			Target:  api.Target{Path: api.AppPath(pkg, int64(v)), Length: int64(len(apk)), SHA256: mios.Sum([]byte(apk))},
			Signers: []mios.Digest{owner}, MinSDK: 21, TargetSDK: 34, Tracks: []string{api.TrackProduction}, Share: api.Everyone, Salt: "salt",
		}
		a.Package.Releases = append(a.Package.Releases, r)
		a.Files = append(a.Files, repo.File{Target: r.Target, Content: strings.NewReader(apk)})
	}
	return a
}

// filled makes a repository of n apps.
func filled(b *testing.B, n int) *repo.Repo {
	b.Helper()
	r := repotest.NewWith(b, repotest.Keys(b), repo.InitOptions{}, "iot")
	const batch = 1000
	for from := 0; from < n; from += batch {
		var claims []api.Claim
		var apps []repo.App
		for i := from; i < min(n, from+batch); i++ {
			claims = append(claims, api.Claim{Package: packageName(i), Signers: []mios.Digest{owner}})
			apps = append(apps, app(i, 1))
		}
		if _, err := r.Claim(b.Context(), claims...); err != nil {
			b.Fatal(err)
		}
		if _, err := r.SetApps(b.Context(), apps...); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

// BenchmarkRepo publishes one app's next version into repositories of 100, 5,000
// and 10,000, in turns, and a new app; then it lets devices look at the one of 5,000.
func BenchmarkRepo(b *testing.B) {
	repos := map[int]*repo.Repo{}
	for _, n := range counts {
		began := time.Now()
		repos[n] = filled(b, n)
		b.Logf("%d apps published in %v", n, time.Since(began).Round(time.Second))
	}
	update, add := map[int][]time.Duration{}, map[int][]time.Duration{}
	for round := range rounds(b) {
		for _, n := range counts {
			update[n] = append(update[n], timed(b, repos[n], app(round%100, round/100+2)))
			pkg := n + round
			if _, err := repos[n].Claim(b.Context(), api.Claim{Package: packageName(pkg), Signers: []mios.Digest{owner}}); err != nil {
				b.Fatal(err)
			}
			add[n] = append(add[n], timed(b, repos[n], app(pkg, 1)))
		}
	}
	rows := [][]string{{"apps", "an app's next version", "of 100", "the fastest", "of 100", "a new app", "of 100", "the fastest", "of 100", "in the mean", "of 100"}}
	for _, n := range counts {
		row := []string{strconv.Itoa(n)}
		for _, what := range []map[int][]time.Duration{update, add} {
			for _, pick := range []func([]time.Duration) time.Duration{median, slices.Min[[]time.Duration]} {
				row = append(row, milliseconds(pick(what[n])), ratio(pick(what[n]), pick(what[counts[0]])))
			}
		}
		rows = append(rows, append(row, milliseconds(mean(add[n])), ratio(mean(add[n]), mean(add[counts[0]]))))
		b.ReportMetric(float64(slices.Min(update[n]))/float64(slices.Min(update[counts[0]])), fmt.Sprintf("update-%d-of-100", n))
		b.ReportMetric(float64(slices.Min(add[n]))/float64(slices.Min(add[counts[0]])), fmt.Sprintf("new-%d-of-100", n))
	}
	table("To publish one app: from SetApps to the tree's pointer", rows)
	devices(b, repos[5000])
}

func timed(b *testing.B, r *repo.Repo, a repo.App) time.Duration {
	b.Helper()
	began := time.Now()
	if res, err := r.SetApps(b.Context(), a); err != nil || !res.Published {
		b.Fatalf("SetApps = %+v, %v", res, err)
	}
	return time.Since(began)
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// mean counts what is done for many changes at once.
func mean(list []time.Duration) (m time.Duration) {
	for _, d := range list {
		m += d
	}
	return m / time.Duration(len(list))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
func ratio(a, of time.Duration) string    { return fmt.Sprintf("%.2f", float64(a)/float64(of)) }

func table(title string, rows [][]string) {
	fmt.Println("\n" + title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, "  "+strings.Join(r, "\t"))
	}
	w.Flush()
}

// A wire counts what devices and the server say to each other, heads and all.
type wire struct {
	server *httptest.Server
	bytes  atomic.Int64
	asked  atomic.Int64
}

// countedConn counts both directions.
type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// serveTree serves a tree as mios serve does, with encodings made in advance or not.
func serveTree(b *testing.B, r *repo.Repo, packed bool) *wire {
	b.Helper()
	w := new(wire)
	s := &serve.Service{Repo: r, Log: slog.New(slog.DiscardHandler)}
	if packed {
		s.Cache = filepath.Join(b.TempDir(), "cache")
	}
	h := s.Handler()
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w.asked.Add(1)
		h.ServeHTTP(rw, req)
	}))
	b.Cleanup(w.server.Close)
	return w
}

// device opens a device's client behind the wire.
func (w *wire) device(b *testing.B, r *repo.Repo, dir string) *api.Client {
	b.Helper()
	f, err := r.Tree().Open(b.Context(), api.MetadataPath("root", 1))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	root, err := io.ReadAll(f)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return countedConn{c, &w.bytes}, err
	}}
	b.Cleanup(transport.CloseIdleConnections)
	c, err := api.Open(api.Config{Dir: dir, Root: root, Fetcher: &fetch.Client{Mirrors: []string{w.server.URL}, HTTP: transport}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// devices counts the bytes that devices' looks cost.
func devices(b *testing.B, r *repo.Repo) {
	rows := [][]string{{"", "packed", "requests", "as they are", "requests"}}
	var columns [2][]string
	var names []string
	for i, packed := range []bool{true, false} {
		names = columnsOf(b, r, packed, 2+i, &columns[i])
	}
	for i, name := range names {
		rows = append(rows, append([]string{name}, append(strings.Split(columns[0][i], "|"), strings.Split(columns[1][i], "|")...)...))
	}
	table("What a device sends and receives, HTTP's heads and all, in a catalogue of 5,000 apps", rows)
}

// columnsOf measures one kind of server.
func columnsOf(b *testing.B, r *repo.Repo, packed bool, round int, column *[]string) (names []string) {
	b.Helper()
	w := serveTree(b, r, packed)
	ctx := b.Context()
	measure := func(name string, f func() error) {
		b.Helper()
		w.bytes.Store(0)
		w.asked.Store(0)
		if err := f(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		names = append(names, name)
		*column = append(*column, fmt.Sprintf("%d|%d", w.bytes.Load(), w.asked.Load()))
		if packed {
			b.ReportMetric(float64(w.bytes.Load()), strings.ReplaceAll(name, " ", "-")+"-bytes")
		}
	}
	const i = 2500
	pkg := packageName(i)
	d := &api.AppDevice{ID: "device", SDK: 34, ABIs: []string{"arm64-v8a"}, Class: "phone"}
	offer := func(c *api.Client, has api.AppInstalled) error {
		if err := c.Refresh(ctx); err != nil {
			return err
		}
		_, err := c.AppOffer(ctx, pkg, d, has)
		return err
	}
	publish := func(n int) {
		if _, err := r.SetApps(ctx, app(i, n)); err != nil {
			b.Fatal(err)
		}
	}
	warm := func() { // a server that has been asked before has packed what it gives
		c := w.device(b, r, b.TempDir())
		for _, f := range []func() error{
			func() error { return offer(c, api.AppInstalled{}) },
			func() error { _, err := c.Listing(ctx, pkg); return err },
			func() error { _, err := c.Search(ctx, "chess", "de"); return err },
			func() error { _, err := c.Page(ctx, "Category "+word(3), 0, "de"); return err },
		} {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
	}
	warm()
	c := w.device(b, r, b.TempDir())
	measure("a new device, one app", func() error { return offer(c, api.AppInstalled{}) })
	measure("nothing is new", func() error { return c.Refresh(ctx) })
	publish(10 * round)
	warm()
	measure("its update", func() error { return offer(c, api.AppInstalled{Release: 1, VersionCode: 1}) })
	measure("its page in the store", func() error { _, err := c.Listing(ctx, pkg); return err })
	measure("a search", func() error { _, err := c.Search(ctx, "chess", "de"); return err })
	measure("a page of a category", func() error { _, err := c.Page(ctx, "Category "+word(3), 0, "de"); return err })
	return names
}
