package property

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"mios"
	"mios/internal/conformance"
)

func TestConformanceTypes(t *testing.T) {
	tally := conformance.New(t, "init property types")
	b, err := os.ReadFile(filepath.Join(conformance.Dir(t, "init"), "init_cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Types []struct {
			Type, Value string
			OK          bool
		} `json:"property_type"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Types {
		got := CheckType(c.Type, c.Value)
		if tally.Case(got == c.OK); got != c.OK {
			t.Errorf("CheckType(%q, %q) = %v, want %v", c.Type, c.Value, got, c.OK)
		}
	}
}

func TestStoreRules(t *testing.T) {
	types, err := ParseTypes(strings.NewReader("# comment\nnet. u:object_r:x:s0 prefix bool\nnet.dns1 x exact string\nother x\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{Types: types}
	for _, c := range []struct {
		name, value string
		want        error
	}{
		{"a.b-c_d@e:F9", "x", nil},
		{"a", strings.Repeat("x", MaxValue), nil},
		{"a", strings.Repeat("x", MaxValue+1), mios.ErrInvalid},
		{"ro.long", strings.Repeat("x", MaxValue+1), nil},
		{"ro.long", "again", mios.ErrDenied},
		{"", "x", mios.ErrInvalid},
		{".a", "x", mios.ErrInvalid},
		{"a.", "x", mios.ErrInvalid},
		{"a..b", "x", mios.ErrInvalid},
		{"a b", "x", mios.ErrInvalid},
		{"ä", "x", mios.ErrInvalid},
		{"a", "\xff", mios.ErrInvalid},
		{"net.online", "1", nil},
		{"net.online", "yes", mios.ErrInvalid},
		{"net.dns1", "10.0.2.3", nil},
		{"other", "anything", nil},
	} {
		if err := s.Set(c.name, c.value); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("Set(%q, %.10q…) = %v, want %v", c.name, c.value, err, c.want)
		}
	}
	if got := s.Get("net.online"); got != "1" {
		t.Errorf("net.online = %q, want what was set right", got)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"short": "short", strings.Repeat("x", 100): strings.Repeat("x", 91),
		strings.Repeat("x", 90) + "ä": strings.Repeat("x", 90), "a\x00b\xff": "ab?",
	} {
		if got := Clip(in); got != want || CheckValue("a", got) != nil {
			t.Errorf("Clip(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMaySet(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		name string
		want bool
	}{
		{0, PowerControl, true}, {0, "ctl.start", true}, {1000, "sys.x", true}, {1000, PowerControl, false},
		{1000, "ctl.stop", false}, {1000, "init.svc.x", false}, {2000, "debug.x", true}, {2000, "sys.x", false}, {10001, "debug.x", false},
	} {
		if got := MaySet(c.uid, c.name); got != c.want {
			t.Errorf("MaySet(%d, %s) = %v, want %v", c.uid, c.name, got, c.want)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Store
		got := make(chan string)
		wait := func(value string) {
			v, err := s.Wait(t.Context(), "a", value)
			got <- fmt.Sprint(v, err)
		}
		go wait("2")
		synctest.Wait()
		s.Set("a", "1")
		go wait("") // has a value already
		if v := <-got; v != "1<nil>" {
			t.Errorf("Wait for any value = %s", v)
		}
		s.Set("a", "2")
		if v := <-got; v != "2<nil>" {
			t.Errorf("Wait for 2 = %s", v)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := s.Wait(ctx, "b", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v, want that of the context", err)
		}
		if len(s.waits) != 0 {
			t.Errorf("%d names are still waited for", len(s.waits))
		}
	})
}

func TestPersistent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "property", "persistent_properties")
	var s Store
	s.Set("persist.default", "from build.prop")
	if err := s.OpenPersistent(path); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Property{{"persist.b", "2"}, {"persist.a", "1"}, {"volatile", "3"}, {"persist.b", "4"}} {
		if err := s.Set(p.Name, p.Value); err != nil {
			t.Fatal(err)
		}
	}
	var again Store
	again.Set("persist.a", "default")
	if err := again.OpenPersistent(path); err != nil {
		t.Fatal(err)
	}
	if want := []Property{{"persist.a", "1"}, {"persist.b", "4"}}; !reflect.DeepEqual(again.List(), want) {
		t.Errorf("after a restart: %v, want %v", again.List(), want)
	}
	if err := os.WriteFile(path, []byte("\x0a\x7ftorn"), 0o600); err != nil {
		t.Fatal(err)
	}
	var broken Store
	if err := broken.OpenPersistent(path); err == nil || !strings.Contains(err.Error(), "are lost") {
		t.Errorf("OpenPersistent of a torn file = %v, want an error that says what is lost", err)
	}
	if err := broken.Set("persist.c", "5"); err != nil {
		t.Errorf("Set after a torn file: %v", err)
	}
	broken.saved["persist.much"] = strings.Repeat("x", maxPersistent)
	if err := broken.Set("persist.d", "6"); err == nil || broken.Get("persist.d") != "" {
		t.Errorf("Set beyond what can be read again: %v, and the value is %q", err, broken.Get("persist.d"))
	}
	if list, err := readPersistent(path); err != nil || len(list) != 1 {
		t.Errorf("file = %v, %v, want the one property", list, err)
	}
}

func TestParseFile(t *testing.T) {
	list, err := ParseFile(strings.NewReader("# c\n ro.a = x y \nro.a=z\n\nb=\nsys.powerctl=reboot\nctl.start=x\nno value\n.c=1\n"))
	if want := []Property{{"ro.a", "z"}, {"b", ""}}; !reflect.DeepEqual(list, want) {
		t.Errorf("ParseFile = %v, want %v", list, want)
	}
	for _, line := range []string{"line 6:", "line 7:", "line 8:", "line 9:"} {
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("ParseFile = %v, want an error at %s", err, line)
		}
	}
}

// serve runs a server and returns a client of it.
func serve(t *testing.T, s *Server) Client {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	s.Log = slog.New(slog.DiscardHandler)
	done := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v", err)
		}
	})
	return Client{Path: path}
}

func TestClientAndServer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may set properties")
	}
	ctx := t.Context()
	var controlled []string
	c := serve(t, &Server{Store: new(Store), Control: func(verb, name string) error {
		controlled = append(controlled, verb+" "+name)
		if name == "missing" {
			return mios.ErrNotFound
		}
		return nil
	}})
	if list, err := c.List(ctx); len(list) != 0 || err != nil {
		t.Errorf("List = %v, %v, want none", list, err)
	}
	waited := make(chan string)
	go func() {
		v, err := c.Wait(ctx, "late", "")
		waited <- fmt.Sprint(v, err)
	}()
	for _, p := range []Property{{"b", "2"}, {"a", "1"}, {"ro.x", "y"}, {"late", "now"}} {
		if err := c.Set(ctx, p.Name, p.Value); err != nil {
			t.Errorf("Set %v: %v", p, err)
		}
	}
	if v := <-waited; v != "now<nil>" {
		t.Errorf("Wait = %s", v)
	}
	if v, err := c.Get(ctx, "b"); v != "2" || err != nil {
		t.Errorf("Get(b) = %q, %v", v, err)
	}
	if list, err := c.List(ctx); err != nil || !reflect.DeepEqual(list, []Property{{"a", "1"}, {"b", "2"}, {"late", "now"}, {"ro.x", "y"}}) {
		t.Errorf("List = %v, %v", list, err)
	}
	if err := c.Set(ctx, "ro.x", "z"); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("second Set of ro.x = %v, want denied", err)
	}
	if err := c.Set(ctx, "no good", "z"); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Set of a wrong name = %v, want invalid", err)
	}
	if err := c.Set(ctx, "ctl.start", "netd"); err != nil {
		t.Errorf("ctl.start: %v", err)
	}
	if err := c.Set(ctx, "ctl.stop", "missing"); err == nil {
		t.Error("ctl.stop of a missing service is no error")
	}
	if want := []string{"start netd", "stop missing"}; !reflect.DeepEqual(controlled, want) {
		t.Errorf("controlled %q, want %q", controlled, want)
	}
	canceled, cancel := context.WithCancel(ctx)
	go cancel()
	if _, err := c.Wait(canceled, "never", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context = %v", err)
	}
}

func FuzzParsePersistent(f *testing.F) {
	f.Add(formatPersistent(map[string]string{"persist.a": "1", "persist.b": ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parsePersistent(b)
		if err != nil {
			return
		}
		m := make(map[string]string)
		for _, p := range list {
			m[p.Name] = p.Value
		}
		again, err := parsePersistent(formatPersistent(m))
		if err != nil || len(again) != len(m) {
			t.Errorf("parse of what format wrote = %v, %v, want %v", again, err, m)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add("a=b\n#\nro.c = d e \n")
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := ParseFile(strings.NewReader(text))
		for _, p := range list {
			if CheckName(p.Name) != nil || CheckValue(p.Name, p.Value) != nil {
				t.Errorf("ParseFile accepts %q", p)
			}
		}
	})
}
