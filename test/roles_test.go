//go:build integration

package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/keelson/keelson/internal/lab"
)

// roleVariable makes this test's own binary, started within a host, one of the
// programs below.
const roleVariable = "KEELSON_TEST_ROLE"

const (
	roleEtcd   = "etcd"   // an etcd that is no part of Keelson
	roleLeader = "leader" // prints who leads a store
)

// role returns the command for a role. What it is told is its only argument,
// as JSON.
func role(name string, told any) lab.Command {
	text, err := json.Marshal(told)
	if err != nil {
		panic(err)
	}
	return lab.Command{Args: []string{lab.SelfPath, string(text)}, Env: []string{roleVariable + "=" + name}}
}

// playRole runs a role, if this process was started for one.
func playRole() {
	name := os.Getenv(roleVariable)
	if name == "" {
		return
	}
	var err error
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	switch name {
	case roleEtcd:
		err = runEtcd(ctx, os.Args[1])
	case roleLeader:
		err = printLeader(ctx, os.Args[1])
	default:
		err = fmt.Errorf("there is no role %q", name)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// files name certificates, keys and authorities in PEM.
type files struct{ Cert, Key, CA string }

// etcdTold is what [roleEtcd] is told. Without files there is no TLS.
type etcdTold struct {
	Dir     string
	Address string
	Files   files
}

// runEtcd runs an etcd of one member until ctx ends.
func runEtcd(ctx context.Context, text string) error {
	var told etcdTold
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Dir, c.Name, c.LogLevel = told.Dir, "operator", "warn"
	at := func(scheme string, port int) []url.URL {
		return []url.URL{{Scheme: scheme, Host: fmt.Sprintf("%s:%d", told.Address, port)}}
	}
	scheme := "http"
	if told.Files != (files{}) {
		scheme = "https"
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: told.Files.Cert, KeyFile: told.Files.Key, TrustedCAFile: told.Files.CA, ClientCertAuth: true,
		}
	}
	c.ListenClientUrls, c.ListenPeerUrls = at(scheme, 2379), at("http", 2380)
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = at(scheme, 2379), at("http", 2380)
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
		fmt.Println("ready")
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done()
	return nil
}

// leaderTold is what [roleLeader] is told.
type leaderTold struct {
	Endpoint string // of any voter
	Files    files
}

// printLeader prints the name of the voter that leads the store.
func printLeader(ctx context.Context, text string) error {
	var told leaderTold
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(told.Files.Cert, told.Files.Key)
	if err != nil {
		return err
	}
	root, err := os.ReadFile(told.Files.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: []string{told.Endpoint}, DialTimeout: 3 * time.Second,
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx, told.Endpoint)
	if err != nil {
		return err
	}
	members, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	for _, m := range members.Members {
		if m.ID == s.Leader {
			fmt.Println(m.Name)
			return nil
		}
	}
	return errors.New("nobody leads the store")
}
