package fdroid_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/key"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/fdroid"
	"mios/publish/app/setup"
	"mios/publish/app/worker"
	"mios/publish/repotest"
	"mios/serve/repo"
	"mios/storage/tree"
)

// TestMain lets the test's own program be the process that reads packages.
func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

// TestNewStore: a store that was just set up has nothing, and F-Droid's client
// follows it all the same, sees the first app when there is one, and nothing more
// when it is gone.
func TestNewStore(t *testing.T) {
	program, jarsigner := look(t, "fdroidcl"), look(t, "jarsigner")
	server := httptest.NewUnstartedServer(nil)
	defer server.Close()
	address := "http://" + server.Listener.Addr().String()
	dir := t.TempDir()
	keys := repotest.Keys(t)
	if err := key.Save(filepath.Join(keys.Dir(), "fdroid.pem"), testkit.RSA(0), "", ""); err != nil {
		t.Fatal(err)
	}
	c := setup.Defaults
	c.Address, c.Name, c.Keys = address, "New shop", keys.Dir()
	folder := filepath.Join(dir, "store")
	if err := setup.Init(t.Context(), folder, keys, setup.InitOptions{Config: c, AppBits: 1}); err != nil {
		t.Fatal(err)
	}
	s, err := setup.Open(t.Context(), folder, setup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server.Config.Handler = (&repo.Service{Repo: s.Repo(), Log: slog.New(slog.DiscardHandler)}).Handler()
	server.Start()
	for _, name := range []string{"index-v1.jar", "entry.jar"} {
		b, err := tree.ReadAll(t.Context(), s.Repo().Tree(), fdroid.Folder+"/"+name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(jarsigner, "-verify", file).CombinedOutput(); err != nil || !strings.Contains(string(out), "jar verified") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	run, _ := client(t, program, address+"/"+fdroid.Folder)
	run("update")
	if out := strings.TrimSpace(run("search")); out != "" {
		t.Errorf("an empty store has %s", out)
	}
	u := app.Upload{Files: []app.UploadFile{{Name: "one.apk", Content: bytes.NewReader(apptest.APK{VersionCode: 1, Signers: []apksig.Signer{apptest.Signer(t)}}.Build(t))}}}
	sub, err := s.Submit(t.Context(), "ada", u)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Review(t.Context(), "rex", sub.ID, true, ""); err != nil {
		t.Fatal(err)
	}
	r, err := s.Release(t.Context(), "rex", sub.ID, app.ReleaseOptions{Share: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compile(t.Context()); err != nil {
		t.Fatal(err)
	}
	run("update")
	wants(t, run("search"), "org.example.clock")
	if _, err := s.Halt(t.Context(), "rex", r.Package, r.Number, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compile(t.Context()); err != nil {
		t.Fatal(err)
	}
	run("update")
	if out := strings.TrimSpace(run("search")); out != "" {
		t.Errorf("a store whose only app is halted has %s", out)
	}
}
