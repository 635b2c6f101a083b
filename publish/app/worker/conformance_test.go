package worker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mios"
	"mios/internal/conformance"
	"mios/publish/app/check"
)

// signatureRules are those that say that a device takes the signature for none.
var signatureRules = []string{"signature", "signature-old"}

// inspectFile reads a file in a worker, and says why it is refused for what it
// is or for its signature, or "". Whatever it is, a child that dies over it is a
// failure.
func inspectFile(t *testing.T, w *Worker, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	facts, err := w.Inspect(t.Context(), []File{{f, filepath.Base(path), fi.Size()}})
	if err != nil {
		if !errors.Is(err, mios.ErrInvalid) || strings.Contains(err.Error(), "could not be read") || !strings.HasPrefix(err.Error(), filepath.Base(path)+": ") {
			t.Errorf("%s: error %v, want one that says what is wrong with the file", path, err)
		}
		return err.Error()
	}
	for _, finding := range check.Judge(facts, nil, check.DefaultPolicy()) {
		if slices.Contains(signatureRules, finding.ID) && finding.Severity == check.Refuse {
			return finding.Detail
		}
	}
	return ""
}

// TestSweepAPKs hands AOSP's test packages to workers: what its verifier refuses
// is refused, what it takes is taken. It judges for the platforms that the
// manifest names, as we do.
func TestSweepAPKs(t *testing.T) {
	dir := conformance.Dir(t, "apksig")
	b, err := os.ReadFile(filepath.Join(dir, "observed.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	tally := conformance.New(t, "hostile packages through the worker")
	w := new(Worker)
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, DefaultParallel)
	for line := range strings.Lines(string(b)) {
		row := strings.Split(line, "\t")
		if row[0] != "verify" || row[2] != "" || row[3] != "" {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			refused := inspectFile(t, w, filepath.Join(dir, "apks", row[1]))
			ok := (refused == "") == (row[4] == "true") || slices.Contains(differs, row[1])
			mu.Lock()
			defer mu.Unlock()
			if tally.Case(ok); !ok {
				t.Errorf("%s: refused %q, AOSP says verified: %s %s", row[1], refused, row[4], row[12])
			}
		})
	}
	wg.Wait()
}

// differs are packages that AOSP's verifier takes, and its newer platforms do
// not: a name with a NUL is one to one reader and another to the next.
var differs = []string{"v1-only-with-nul-in-entry-name.apk"}

// TestSweepZips hands archives to workers that are no packages, and hostile ones.
func TestSweepZips(t *testing.T) {
	dir := conformance.Dir(t, "zip")
	tally := conformance.New(t, "hostile archives through the worker")
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if ext := filepath.Ext(e.Name()); ext != ".zip" && ext != ".apk" {
			continue
		}
		refused := inspectFile(t, new(Worker), filepath.Join(dir, e.Name()))
		if tally.Case(refused != ""); refused == "" {
			t.Errorf("%s: taken for a package", e.Name())
		}
	}
}
