package testkit_test

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mios/internal/testkit"
)

// TestServerEndsWithItsProcess kills a test process that has a server: nothing
// of the server is left.
func TestServerEndsWithItsProcess(t *testing.T) {
	if os.Getenv("MIOS_TESTKIT_CHILD") != "" {
		fmt.Printf("\nurl=%s\n", testkit.Postgres(t))
		select {}
	}
	if testing.Short() {
		t.Skip("PostgreSQL: not with -short")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "TestServerEndsWithItsProcess")
	cmd.Env = append(os.Environ(), "MIOS_TESTKIT_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	dir := ""
	for s := bufio.NewScanner(out); dir == "" && s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "url="); ok {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			dir = u.Query().Get("host")
		}
	}
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		t.Fatalf("the server's folder %q: %v", dir, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(20 * time.Millisecond) { // between two looks
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", dir)
		}
	}
}
