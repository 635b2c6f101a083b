// Command app says what it was told, counts its runs in its data folder, and
// waits for SIGTERM.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	path := filepath.Join(os.Getenv("HOME"), "runs")
	runs, _ := os.ReadFile(path)
	runs = append(runs, '.')
	if err := os.WriteFile(path, runs, 0o600); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	fmt.Println(os.Getenv("MIOS_PACKAGE"), os.Getenv("MIOS_VERSION_CODE"), os.Getenv("MIOS_DEVICE_PRODUCT"), "uid", os.Getuid(), "run", len(runs))
	<-ch
}
