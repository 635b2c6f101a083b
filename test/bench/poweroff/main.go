// Program poweroff is the smallest init: it switches the machine off. What a
// kernel takes to boot and to end is measured with it.
package main

import "syscall"

func main() {
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
