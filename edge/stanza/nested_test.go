package stanza

import "testing"

func TestNested(t *testing.T) {
	inner, err := Canonical([]byte(`<p:pubsub xmlns:p='ps'><p:publish node='n'><p:item id='1'><tune xmlns='t'><p:x/></tune><p:own/><body xmlns='jabber:client'>hi</body></p:item></p:publish></p:pubsub>`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	pubsub, ok := Find(inner, "ps", "pubsub")
	if !ok {
		t.Fatal("no pubsub")
	}
	if _, ok := pubsub.First(NSClient, "publish"); ok {
		t.Error("what is inside has the namespace of what is around")
	}
	publish, _ := pubsub.First("ps", "publish")
	item, ok := publish.First("ps", "item")
	if !ok || item.Attr("id") != "1" {
		t.Fatalf("item %s", item.Raw)
	}
	var got []string
	for c := range item.Children() {
		got = append(got, c.Space()+" "+string(c.Declared()))
		if e, err := c.Element(); err != nil || e.Space != c.Space() {
			t.Errorf("parsed %+v, %v", e, err)
		}
	}
	want := []string{"t <tune xmlns='t'><x xmlns='ps'/></tune>", "ps <own xmlns='ps'/>", "jabber:client <body xmlns='jabber:client'>hi</body>"}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %s\nwant %s", got[i], want[i])
		}
	}
}
