package lab_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// toolVariable makes the test binary one of the small network tools below, to
// be run in a host.
const toolVariable = "LAB_TEST_TOOL"

func runTool(args []string) {
	tools := map[string]func([]string) error{
		"ping": ping, "hear": hear, "say": say, "accept": accept, "hold": hold, "beat": beat, "eat": eat, "spin": spin, "keep": keep, "forbid": forbid, "take": take,
	}
	if err := tools[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ping ADDRESS COUNT sends echo requests and prints how many were answered
// within 100 ms.
func ping(args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if strings.Contains(args[0], ":") {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	conn, err := net.Dial(network, args[0])
	if err != nil {
		fmt.Println(0)
		return nil
	}
	answered := 0
	for seq := range count {
		m := make([]byte, 16)
		m[0] = request
		binary.BigEndian.PutUint16(m[4:], uint16(os.Getpid()))
		binary.BigEndian.PutUint16(m[6:], uint16(seq))
		if network == "ip4:icmp" { // the kernel does it for IPv6
			binary.BigEndian.PutUint16(m[2:], checksum(m))
		}
		if _, err := conn.Write(m); err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		deadline := time.Now().Add(100 * time.Millisecond)
		conn.SetReadDeadline(deadline)
		buf := make([]byte, 256)
		for {
			n, _, err := conn.(*net.IPConn).ReadFrom(buf) // without the IP header, unlike Read
			if err != nil {
				if time.Now().Before(deadline) {
					time.Sleep(20 * time.Millisecond) // such as: no route
				}
				break
			}
			if n >= 8 && buf[0] == reply && bytes.Equal(buf[4:8], m[4:8]) {
				answered++
				break
			}
		}
	}
	fmt.Println(answered)
	return nil
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// hear PORT prints what comes by UDP, one line each.
func hear(args []string) error {
	conn, err := net.ListenPacket("udp4", ":"+args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening")
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", buf[:n])
	}
}

// say ADDRESS:PORT TEXT sends a datagram; the address may be a broadcast one.
func say(args []string) error {
	conn, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1)
	}); err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp4", args[0])
	if err != nil {
		return err
	}
	_, err = conn.WriteTo([]byte(args[1]), to)
	return err
}

// accept PORT takes connections and holds them open.
func accept(args []string) error {
	l, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening")
	var kept []net.Conn
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		kept = append(kept, c)
		fmt.Println("has", len(kept))
	}
}

// hold ADDRESS:PORT connects, and prints "connected" and how the connection
// ended, or "silent" if it did not within half a second after a line on stdin.
func hold(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], time.Second)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	if os.IsTimeout(err) {
		fmt.Println("silent")
	} else {
		fmt.Println(err)
	}
	return nil
}

// beat prints a line every 5 ms.
func beat([]string) error {
	for {
		if _, err := fmt.Println(time.Now().UnixMilli()); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// eat MIB uses that much memory and prints "full".
func eat(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var kept [][]byte
	for range n {
		kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
	}
	fmt.Println("full", len(kept))
	return nil
}

// spin MS computes for that long and prints the CPU time it got, in ms.
func spin(args []string) error {
	ms, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end); {
		continue
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	fmt.Println((u.Utime.Nano() + u.Stime.Nano()) / 1e6)
	return nil
}
