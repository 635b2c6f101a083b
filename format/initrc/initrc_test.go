package initrc

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func scripts(tb testing.TB) map[string][]byte {
	names, err := filepath.Glob("testdata/*.rc")
	if err != nil || len(names) == 0 {
		tb.Fatalf("no scripts in testdata: %v", err)
	}
	all := make(map[string][]byte)
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

func TestGolden(t *testing.T) {
	for name, src := range scripts(t) {
		s, parseErr := Parse(filepath.Base(name), src)
		got, err := json.MarshalIndent(s, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if parseErr != nil {
			got = append(got, "\n"+parseErr.Error()...)
		}
		if checkErr := s.Check(); checkErr != nil {
			got = append(got, "\n"+checkErr.Error()...)
		}
		got = append(got, '\n')
		golden := name + ".golden"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("Parse(%s) is not what %s says (-update rewrites it):\n%s", name, golden, got)
		}
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for src, want := range map[string]string{
		"write a b":                       `f:1: "write" is outside of a section: a section starts with on, service or import`,
		"\n\non":                          "f:3: on: actions must have a trigger",
		"on a b":                          `f:1: on: "b" where only && may join triggers`,
		"on a &&":                         "f:1: on: no trigger behind the last &&",
		"on a && c":                       "f:1: on: several event triggers: a and c",
		"on property:a":                   `f:1: on: property trigger "property:a" needs NAME=VALUE`,
		"on property:a=1 && property:a=2": "f:1: on: several triggers for property a",
		"on a:":                           `f:1: on: character ':' is not allowed in event trigger "a:"`,
		"import":                          "f:1: import: single argument needed, 0 given",
		"service x":                       "f:1: service: name and program needed",
		"service x/y /z":                  `f:1: service: name "x/y" is not valid`,
		"service x /y":                    "f:1: service x: no user: add the option user",
		"service x /y\n user a\n critical\n oneshot": "f:1: service x: both critical and oneshot",
		"service x /y\n user a\n user":               "f:3: user: 1 to 1 arguments needed, 0 given",
		"service x /y\n user a\n sokcet":             "f:3: sokcet: no such option of a service",
		"service x /y\n user a\n setenv A":           "f:3: setenv: 2 to 2 arguments needed, 1 given",
		"service x /y\n user a\n capabilities FLY":   "f:3: capabilities: no such capability: FLY",
		"service x /y\n user a\n priority 20":        `f:3: priority: "20": use a number from -20 to 19`,
		"service x /y\n user a\n socket s tcp 660":   `f:3: socket: type "tcp": use stream, dgram or seqpacket`,
		"service x /y\n user a\n socket s stream 9":  `f:3: socket: mode "9": use an octal number up to 777`,
		"on a\n b \\\n c\n \"d":                      "f:4: quote that starts on line 4 has no end",
		"on a\n b\x00":                               "f:2: zero byte",
	} {
		if _, err := Parse("f", []byte(src)); err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", src, err, want)
		}
	}
}

func TestBrokenSectionIsSkippedAlone(t *testing.T) {
	s, err := Parse("f", []byte("on a:\n b\nservice s\n user x\non c\n d e\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("error = %v, want one for each broken section", err)
	}
	if len(s.Actions) != 1 || s.Actions[0].Event != "c" || s.Actions[0].Line != 5 || len(s.Services) != 0 {
		t.Errorf("script = %+v, want the action c alone", s)
	}
}

func TestCheck(t *testing.T) {
	for src, want := range map[string]string{
		"on a\n mkdir /x 0755 root root\n start b": "",
		"on a\n fly":     "f:2: no such command: fly",
		"on a\n chmod 1": "f:2: chmod: 2 to 2 arguments needed, 1 given",
		"on a\n exec":    "f:2: exec: at least 1 arguments needed, 0 given",
		"service x /y\n user a\n onrestart restart\n onrestart z": "f:3: restart: 1 to 2 arguments needed, 0 given\nf:4: no such command: z",
	} {
		s, err := Parse("f", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := s.Check(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Check(%q) = %q, want %q", src, got, want)
		}
	}
}

func TestCondition(t *testing.T) {
	for _, c := range []struct {
		want, value string
		holds       bool
	}{{"1", "1", true}, {"1", "2", false}, {"*", "x", true}, {"*", "", false}, {"1", "", false}} {
		if got := (Condition{"p", c.want}).Holds(c.value); got != c.holds {
			t.Errorf("p=%s with %q = %v, want %v", c.want, c.value, got, c.holds)
		}
	}
}

// strip removes what Format does not keep.
func strip(s *Script) *Script {
	b, _ := json.Marshal(s)
	var c Script
	json.Unmarshal(b, &c)
	lines := func(list []Command) {
		for i := range list {
			list[i].Line = 0
		}
	}
	for i := range c.Imports {
		c.Imports[i].Line = 0
	}
	for i := range c.Actions {
		c.Actions[i].Line, c.Actions[i].File = 0, ""
		lines(c.Actions[i].Commands)
	}
	for i := range c.Services {
		v := &c.Services[i]
		v.Line, v.File = 0, ""
		lines(v.OnRestart)
		lines(v.Ignored)
		lines(v.Options)
	}
	return &c
}

func FuzzParse(f *testing.F) {
	for _, src := range scripts(f) {
		f.Add(src)
	}
	f.Add([]byte("on \"a\"\\\n \"\" \\\"\\# \"x y\"z\\ \\n\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("f", src)
		if _, single := err.(*FormatError); !single && !located(err) {
			t.Fatalf("error without a line: %v", err)
		}
		again, err := Parse("g", s.Format())
		if err != nil {
			t.Fatalf("Parse refuses what Format wrote: %v\n%s", err, s.Format())
		}
		if !reflect.DeepEqual(strip(s), strip(again)) {
			t.Fatalf("Format changes the script:\n%s\n%+v\n%+v", s.Format(), strip(s), strip(again))
		}
		for scan := NewScanner(src); ; {
			if kind, _ := scan.Next(); kind == End {
				break
			}
		}
	})
}
