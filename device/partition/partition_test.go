package partition

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestScan(t *testing.T) {
	dir := t.TempDir()
	for dev, uevent := range map[string]string{
		"vda":  "MAJOR=254\nDEVNAME=vda\nDEVTYPE=disk\n",
		"vda1": "DEVNAME=vda1\nDEVTYPE=partition\nPARTN=1\nPARTNAME=misc\n",
		"vda5": "DEVNAME=vda5\nPARTNAME=super\n",
		"vdb1": "DEVNAME=vdb1\nPARTNAME=super\n",
	} {
		if err := os.Mkdir(filepath.Join(dir, dev), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, dev, "uevent"), []byte(uevent), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Scan(dir, "/dev")
	if err != nil || len(got) != 2 || got["misc"] != "/dev/vda1" || got["super"] != "/dev/vda5" {
		t.Errorf("Scan = %v, %v, want misc on vda1 and super on the first disk", got, err)
	}
	if m := got.Missing([]string{"misc", "vbmeta_a", "vbmeta_a"}); !slices.Equal(m, []string{"vbmeta_a"}) {
		t.Errorf("Missing = %q, want vbmeta_a", m)
	}
	if got.String() != "misc, super" || Nodes(nil).String() != "no partitions" {
		t.Errorf("String = %q, and of none %q", got, Nodes(nil))
	}
	if _, err := Scan(filepath.Join(dir, "none"), "/dev"); err == nil {
		t.Error("Scan of no folder succeeds")
	}
}
