package member

import (
	"testing"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/store"
)

func TestNextStep(t *testing.T) {
	t.Parallel()
	const peer = "https://10.0.0.2:7482"
	vote, noVote := &record.NodeWish{Voter: true}, &record.NodeWish{}
	other := store.Member{ID: "1", Name: "a", PeerURLs: []string{"https://10.0.0.1:7482"}}
	added := store.Member{ID: "2", Learner: true, PeerURLs: []string{peer}}
	learner, voter := added, added
	learner.Name = "b"
	voter.Name, voter.Learner = "b", false
	noted := record.Node{Member: "2"}

	tests := []struct {
		name string
		s    sight
		want step
	}{
		{"without a wish nothing happens", sight{members: []store.Member{other, voter}, running: "2", data: true}, rest},
		{"a wished voter enrols", sight{wish: vote, members: []store.Member{other}}, enrol},
		{"an enrolled one starts its server", sight{wish: vote, members: []store.Member{other, added}}, start},
		{"a started learner is promoted", sight{wish: vote, members: []store.Member{other, learner}, running: "2", data: true}, promote},
		{"a learner whose server was started before a crash is promoted", sight{wish: vote, members: []store.Member{other, added}, running: "2", data: true}, promote},
		{"a promoted voter notes its id", sight{wish: vote, members: []store.Member{other, voter}, running: "2", data: true}, note},
		{"then it rests", sight{wish: vote, node: noted, members: []store.Member{other, voter}, running: "2", data: true}, rest},
		{"a voter whose server does not start is left to its owner", sight{wish: vote, node: noted, members: []store.Member{other, voter}, data: true}, rest},
		{"a voter that was removed clears its data first", sight{wish: vote, node: noted, members: []store.Member{other}, data: true}, vacate},
		{"a server of an earlier membership is cleared", sight{wish: vote, members: []store.Member{other, added}, running: "9", data: true}, vacate},
		{"a voter that lost its data gives the old membership up", sight{wish: vote, node: noted, members: []store.Member{other, voter}}, resign},
		{"a voter that moved to another address knows itself by its id", sight{
			wish: vote, node: noted, running: "2", data: true,
			members: []store.Member{other, {ID: "2", Name: "b", PeerURLs: []string{"https://10.0.0.9:7482"}}},
		}, rest},
		{"a voter that is not wished any more resigns", sight{wish: noVote, node: noted, members: []store.Member{other, voter}, running: "2", data: true}, resign},
		{"a learner that is not wished any more resigns", sight{wish: noVote, members: []store.Member{other, learner}, running: "2", data: true}, resign},
		{"having resigned it clears its data", sight{wish: noVote, node: noted, members: []store.Member{other}, running: "2", data: true}, vacate},
		{"also after a crash", sight{wish: noVote, node: noted, members: []store.Member{other}, data: true}, vacate},
		{"then it clears its note", sight{wish: noVote, node: noted, members: []store.Member{other}}, note},
		{"then it rests as a client", sight{wish: noVote, members: []store.Member{other}}, rest},
		{"the only voter does not resign", sight{wish: noVote, node: noted, members: []store.Member{voter}, running: "2", data: true}, onlyVoter},
		{"nor beside a learner", sight{wish: noVote, node: noted, members: []store.Member{voter, {ID: "3", Learner: true}}, running: "2", data: true}, onlyVoter},
		{"a leaving voter waits until the controller takes its vote", sight{
			wish: &record.NodeWish{Voter: true, Leaving: true}, node: noted, members: []store.Member{other, voter}, running: "2", data: true,
		}, rest},
		{"a leaving node that was asked to vote does not begin", sight{
			wish: &record.NodeWish{Voter: true, Leaving: true}, members: []store.Member{other},
		}, rest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.s.peer = peer
			if got := test.s.next(); got != test.want {
				t.Errorf("next step %q, want %q", got, test.want)
			}
		})
	}
}
