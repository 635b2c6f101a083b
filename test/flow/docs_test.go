package flow_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are what people read first; commands in them are what people type.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return append(docs, "../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md")
}

var (
	code    = regexp.MustCompile("`([^`\n]+)`|(?m:^    (.+)$)") // inline, or an indented line
	command = regexp.MustCompile(`^(?:bin/)?(mios|make|update_engine_client) ([a-z].*)$`)
	verbs   = regexp.MustCompile(`^(?:[a-z]+(?:-[a-z]+)* ?)+`)
	flags   = regexp.MustCompile(`(?:^| )(--?[a-z][a-z_-]*)`)
	links   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// TestDocuments looks for what the documents name: files, targets of make,
// commands of mios and their flags. TestStory in test/qemu runs those of
// README that a person types first.
func TestDocuments(t *testing.T) {
	mios := filepath.Join(programs(t), "mios")
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := strings.Fields(regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(string(makefile))[1])
	seen := 0
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: link: %v", doc, err)
			}
		}
		for _, m := range code.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(m[1]+m[2], " #")
			c := command.FindStringSubmatch(strings.TrimSpace(line))
			switch {
			case c == nil:
				continue
			case c[1] == "make":
				if target := strings.Fields(c[2])[0]; !slices.Contains(targets, target) {
					t.Errorf("%s: %s: Makefile has no target %s", doc, line, target)
				}
			case c[1] == "mios" && c[2] != "help" && !strings.HasPrefix(c[2], "help "):
				checkMios(t, doc, mios, c[2])
			}
			seen++
		}
	}
	if seen < 20 {
		t.Errorf("found %d commands in the documents: the search is broken", seen)
	}
}

// checkMios looks the words and flags of a command up in its help.
func checkMios(t *testing.T, doc, mios, line string) {
	t.Helper()
	words := strings.Fields(verbs.FindString(strings.ReplaceAll(line, "|", " "))) // `publish os|app` is at least the first
	for n := len(words); n > 0; n-- {
		help, err := exec.Command(mios, append([]string{"help"}, words[:n]...)...).Output()
		if err != nil {
			continue
		}
		for _, f := range flags.FindAllStringSubmatch(line, -1) {
			if f[1] != "-h" && !regexp.MustCompile(`(?m)^  `+f[1]+`\b`).Match(help) {
				t.Errorf("%s: mios %s: no flag %s in:\n%s", doc, line, f[1], help)
			}
		}
		return
	}
	t.Errorf("%s: mios %s: no such command", doc, line)
}
