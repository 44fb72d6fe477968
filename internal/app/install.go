package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/app/sentence"
	"github.com/keelson/keelson/internal/base/atomicfile"
	"github.com/keelson/keelson/internal/engine/pki"
	"github.com/keelson/keelson/internal/front/cli"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/store/etcdstore"
)

// foundTimeout bounds the start of a new cell's store.
const foundTimeout = time.Minute

// Init makes this server the first node of a new cell. An init that was cut
// short goes on where it was.
func (a *App) Init(ctx context.Context, o cli.InitOptions) (cli.InitResult, error) {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	if err := a.vacant(f); err != nil {
		return cli.InitResult{}, err
	}
	if err := canListen(ctx, o.NewNode, o.Config.Store != nil); err != nil {
		return cli.InitResult{}, err
	}
	files := pki.NewFiles(f.pki())
	founding, err := a.founding(f, files, o)
	if err != nil {
		return cli.InitResult{}, sentence.Disk(f.data, err)
	}
	if err := files.Install(founding.Certificate, founding.Cell.CACert); err != nil {
		return cli.InitResult{}, sentence.Disk(f.data, err)
	}
	l := localOf(o.NewNode, founding.Cell.Name, founding.Cell.ID)
	l.NodeID, l.Slot, l.Config = founding.Node.ID, founding.Node.Slot, o.ConfigFile
	l.Endpoints = []string{hostPort(l.Address, l.Ports.Client)}
	if o.Config.Store != nil {
		l.Endpoints = endpoints(o.Config.Store.Endpoints)
	}
	o.Progress("starting the store")
	ctx, cancel := context.WithTimeout(ctx, foundTimeout)
	defer cancel()
	if err := a.fill(ctx, f, l, o.Config, founding); err != nil {
		return cli.InitResult{}, sentence.Store(f.etcd(), err)
	}
	if err := l.write(f); err != nil {
		return cli.InitResult{}, err
	}
	if err := os.Remove(f.founding()); err != nil {
		return cli.InitResult{}, sentence.Disk(f.data, err)
	}
	started, notes, err := a.startService(ctx, o.NewNode)
	return cli.InitResult{CellID: l.CellID, Started: started, Notes: notes}, err
}

// vacant makes sure that this server is in no cell.
func (a *App) vacant(f folders) error {
	l, member, err := a.membership(f)
	if err == nil && member {
		return alreadyMember(f, l)
	}
	return err
}

// membership returns who this server is, if it is a member of a cell. It makes
// the data folder.
func (a *App) membership(f folders) (l local, member bool, err error) {
	if err := makeFolder(f.data); err != nil {
		return l, false, err
	}
	if err := atomicfile.Clean(f.data); err != nil {
		return l, false, sentence.Disk(f.data, err)
	}
	l, err = readLocal(f)
	var known *request.Error
	if errors.As(err, &known) && known.Code == "not-a-member" {
		return l, false, nil
	}
	return l, err == nil, err
}

func localOf(n cli.NewNode, cell, id string) local {
	return local{
		Cell: cell, CellID: id, Node: n.Name, Address: n.Address, Ports: withDefaults(n.Ports), Links: n.Links, Labels: n.Labels,
	}
}

// founding returns what the cell begins with: made now, or by an init that was
// cut short, with a certificate of now.
func (a *App) founding(f folders, files *pki.Files, o cli.InitOptions) (pki.Founding, error) {
	key, err := files.Key()
	if err != nil {
		return pki.Founding{}, err
	}
	csr, err := pki.NewRequest(key, string(o.Name))
	if err != nil {
		return pki.Founding{}, err
	}
	node := record.Node{
		Name: o.Name, Address: o.Address, Ports: withDefaults(o.Ports), Links: o.Links, Labels: o.Labels, Version: a.version,
	}
	made, found, err := a.begun(f, o, node)
	if err != nil {
		return made, err
	}
	if !found {
		if made, err = pki.Found(o.Cell, node, csr, o.Config.Store != nil, a.clock.Now()); err != nil {
			return made, err
		}
		made.Cell.ReplaceVoterAfter = spec.Duration(o.ReplaceVoterAfter)
	}
	authority, err := pki.AuthorityOf(made.Cell)
	if err != nil {
		return made, err
	}
	issued, err := authority.SignNode(csr, made.Node, a.clock.Now())
	if err != nil {
		return made, err
	}
	made.Certificate, made.Node.CertSerial = issued.Certificate, issued.Serial
	data, err := json.Marshal(made)
	if err != nil {
		return made, fmt.Errorf("encode the new cell: %w", err)
	}
	return made, atomicfile.Write(f.founding(), data, 0o600)
}

// begun returns what an init that was cut short has made. One that asked for
// something else is forgotten, unless its store was made: that is not thrown
// away without being told.
func (a *App) begun(f folders, o cli.InitOptions, node record.Node) (made pki.Founding, found bool, err error) {
	data, err := atomicfile.Read(f.founding(), maxLocal)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return made, false, err
	}
	server := etcdstore.NewServer(etcdstore.ServerOptions{Dir: f.etcd()})
	if err := json.Unmarshal(data, &made); err == nil {
		was := made.Node
		same := record.Node{
			Name: was.Name, Address: was.Address, Ports: was.Ports, Links: was.Links, Labels: was.Labels, Version: a.version,
		}
		alike := made.Cell.Name == o.Cell && made.Cell.External == (o.Config.Store != nil) &&
			made.Cell.ReplaceVoterAfter == spec.Duration(o.ReplaceVoterAfter)
		if alike && reflect.DeepEqual(same, node) {
			return made, true, nil
		}
		if server.HasData() {
			return made, false, refused("init-unfinished",
				fmt.Sprintf("run the same `keelson init` again, or move %s away to begin anew", f.data),
				"an init of cell %s with node %s (%s) was cut short here, and this one asks for something else", made.Cell.Name, was.Name, was.Address)
		}
	}
	return pki.Founding{}, false, server.Discard(a.clock.Now())
}

// fill starts the cell's store, or reaches the operator's own, writes what the
// cell begins with, and stops.
func (a *App) fill(ctx context.Context, f folders, l local, c cli.Config, founding pki.Founding) error {
	log := a.logger(cli.Logging{Level: "error"})
	if c.Store == nil {
		server := a.storeServer(f, l, log)
		start := server.StartNew
		if server.HasData() {
			start = server.Restart
		}
		if err := start(ctx); err != nil {
			return err
		}
		defer func() { _ = server.Stop(context.WithoutCancel(ctx)) }() // what was written is on disk
		if err := server.Ready(ctx); err != nil {
			return err
		}
		founding.Node.Member = server.MemberID()
	}
	c2, err := a.storeClient(f, l, c, log)
	if err != nil {
		return err
	}
	registrar := pki.Registrar{Store: c2, Clock: a.clock}
	return errors.Join(registrar.InitCell(ctx, founding), c2.Close())
}

// Join makes this server a node of an existing cell.
func (a *App) Join(ctx context.Context, o cli.JoinOptions) (cli.JoinResult, error) {
	f := folders{data: o.Folders.Data, run: o.Folders.Run}
	before, member, err := a.membership(f)
	if err != nil {
		return cli.JoinResult{}, err
	}
	token, err := pki.ParseToken(o.Token)
	if err != nil && member {
		err = alreadyMember(f, before)
	}
	if err != nil {
		return cli.JoinResult{}, err
	}
	files := pki.NewFiles(f.pki())
	if member {
		if o.NewNode, err = a.again(f, before, files, token, o); err != nil {
			return cli.JoinResult{}, err
		}
		o.Witness = before.Witness
	} else if err := canListen(ctx, o.NewNode, o.Config.Store != nil); err != nil {
		return cli.JoinResult{}, err
	}
	joined, err := a.ask(ctx, files, token, o)
	if err != nil {
		return cli.JoinResult{}, sentence.Disk(f.data, err)
	}
	if err := a.strange(f, before, joined.NodeID); err != nil {
		return cli.JoinResult{}, sentence.Disk(f.data, err)
	}
	if err := files.Install(joined.Certificate, joined.CA); err != nil {
		return cli.JoinResult{}, sentence.Disk(f.data, err)
	}
	l := localOf(o.NewNode, joined.Cell, joined.CellID)
	l.NodeID, l.Slot, l.Witness, l.Endpoints, l.Config = joined.NodeID, joined.Slot, o.Witness, joined.Endpoints, o.ConfigFile
	if l.Config == "" {
		l.Config = before.Config
	}
	if err := l.write(f); err != nil {
		return cli.JoinResult{}, err
	}
	started, notes, err := a.startService(ctx, o.NewNode)
	return cli.JoinResult{Cell: joined.Cell, Started: started, Notes: append(joined.Notes, notes...)}, err
}

// ask asks a node of the cell to let this one in.
func (a *App) ask(ctx context.Context, files *pki.Files, token pki.Token, o cli.JoinOptions) (request.Joined, error) {
	key, err := files.Key()
	if err != nil {
		return request.Joined{}, err
	}
	csr, err := pki.NewRequest(key, string(o.Name))
	if err != nil {
		return request.Joined{}, err
	}
	o.Progress("asking " + o.Server + " to let this node in")
	c, err := client.New(client.Options{Servers: []string{o.Server}, TLS: pki.Pinned(token, a.clock)})
	if err != nil {
		return request.Joined{}, err
	}
	defer c.Close()
	joined, err := c.Join(ctx, request.Join{
		Token: o.Token, Name: o.Name, CSR: csr, Address: o.Address, Links: o.Links, Labels: o.Labels,
		Witness: o.Witness, Ports: withDefaults(o.Ports), Version: a.version, Clock: a.clock.Now(),
	})
	if errors.Is(err, pki.ErrWrongCell) {
		err = fmt.Errorf("%s: %w", o.Server, err)
	}
	return joined, err
}

// storeServer is this node's own store server.
func (a *App) storeServer(f folders, l local, log *slog.Logger) *etcdstore.Server {
	files := pki.NewFiles(f.pki())
	peer, cl := hostPort(l.Address, l.Ports.Peer), hostPort(l.Address, l.Ports.Client)
	return etcdstore.NewServer(etcdstore.ServerOptions{
		Name: string(l.Node), Cell: l.CellID, Dir: f.etcd(),
		ListenPeer: peer, ListenClient: cl, AdvertisePeer: peer, AdvertiseClient: cl,
		TLS: etcdstore.TLSFiles{Cert: files.CertPath(), Key: files.KeyPath(), CA: files.CAPath(), Revoked: files.RevokedPath()}, PeerName: pki.NodeHost,
		Clock: a.clock, Log: log,
	})
}

// storePrefix begins all keys of the cell's own store.
func storePrefix(l local) string { return "/keelson/" + l.CellID + "/" }

// storeClient is this node's way to the store.
func (a *App) storeClient(f folders, l local, c cli.Config, log *slog.Logger) (*etcdstore.Client, error) {
	files := pki.NewFiles(f.pki())
	o := etcdstore.ClientOptions{
		Name: string(l.Node), Endpoints: l.Endpoints, Prefix: storePrefix(l),
		TLS:   etcdstore.TLSFiles{Cert: files.CertPath(), Key: files.KeyPath(), CA: files.CAPath()},
		Clock: a.clock, Log: log,
	}
	if c.Store != nil {
		o.External, o.Prefix = true, c.Store.Prefix+l.CellID+"/"
		o.Endpoints = endpoints(c.Store.Endpoints)
		o.TLS = etcdstore.TLSFiles{Cert: c.Store.Cert, Key: c.Store.Key, CA: c.Store.CA}
	}
	return etcdstore.NewClient(o)
}

// endpoints takes the scheme off an operator's etcd endpoints.
func endpoints(in []string) []string {
	var out []string
	for _, e := range in {
		for _, scheme := range []string{"https://", "http://"} {
			if len(e) > len(scheme) && e[:len(scheme)] == scheme {
				e = e[len(scheme):]
			}
		}
		out = append(out, e)
	}
	return out
}
