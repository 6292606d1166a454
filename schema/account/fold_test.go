package account

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
)

const (
	bothExist = "create juliet; create romeo"
	asked     = bothExist + "; romeo -> juliet: subscribe"
	fromTo    = asked + "; juliet -> romeo: subscribed" // juliet: romeo From
	mutual    = fromTo + "; juliet -> romeo: subscribe; romeo -> juliet: subscribed"
	online    = bothExist + "; juliet/balcony binds e1/3; juliet/balcony available"
)

// One case for each rule of RFC 6121 that the fold carries out. The script's
// last line is what happens; has are answers that it must give, in this order;
// hasNot are pieces of text that no answer may contain.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		has    []string
		hasNot []string
	}{
		// Section 2: the roster.
		{"2.3.2 set creates the item, pushes and answers", bothExist + "; juliet/balcony sets romeo Romeo Friends",
			[]string{`>> juliet: push romeo None, version 3, "Romeo" ["Friends"]`, `>> juliet: answer r1 of "balcony" from ""`, `juliet: romeo None, version 3, "Romeo" ["Friends"]`}, []string{"=>"}},
		{"2.4.1 item is updated exactly as provided", bothExist + "; juliet sets romeo Romeo Friends; juliet sets romeo",
			[]string{`>> juliet: push romeo None, version 4`, `juliet: romeo None, version 4`}, []string{"Romeo"}},
		{"2.1.2.5 set does not change the subscription", mutual + "; juliet sets romeo R",
			[]string{`juliet: romeo Both, version 11, "R" []`}, nil},
		{"2.3.3 item for the account itself", bothExist + "; juliet/balcony sets juliet Me",
			[]string{`>> juliet: answer r1 of "balcony" from "" not-allowed`}, []string{"push"}},
		{"2.5.2 removal of to sends unsubscribe", fromTo + "; romeo removes juliet",
			[]string{`>> romeo: push juliet None, version 7, not in the roster`, `>> romeo: answer r1 of "" from ""`, `=> juliet: romeo unsubscribe`, `juliet: romeo None, version 8`}, []string{"unsubscribed"}},
		{"2.5.2 removal of from sends unsubscribed", fromTo + "; juliet removes romeo",
			[]string{`>> juliet: push romeo None, version 7, not in the roster`, `=> romeo: juliet unsubscribed`, `romeo: juliet None, version 8`}, []string{"unsubscribe\n"}},
		{"2.5.2 removal of both sends both", mutual + "; juliet removes romeo",
			[]string{`=> romeo: juliet unsubscribe`, `=> romeo: juliet unsubscribed`, `romeo: juliet None, version 13`}, nil},
		{"2.5.2 removal ends a pending request", asked + "; romeo removes juliet",
			[]string{`=> juliet: romeo unsubscribe`, `juliet: romeo unknown`}, nil},
		{"2.5.3 item not in the roster", bothExist + "; juliet removes romeo",
			[]string{`>> juliet: answer r1 of "" from "" item-not-found`}, []string{"push"}},
		{"2.5.3 contact whose request waits is not in the roster", asked + "; juliet removes romeo",
			[]string{`>> juliet: answer r1 of "" from "" item-not-found`}, []string{"push", "=>"}},
		{"2.6.3 version of a push is unique and grows", bothExist + "; juliet sets romeo A; juliet sets romeo B",
			[]string{`>> juliet: push romeo None, version 4, "B" []`}, nil},
		{"2.6.3 tombstone keeps the version of the removal", bothExist + "; juliet sets romeo A; juliet removes romeo",
			[]string{`juliet: romeo None, version 4, not in the roster`}, nil},

		// Section 3.1: requesting.
		{"3.1.1 request before the roster set", asked + "; romeo sets juliet Juliet",
			[]string{`>> romeo: push juliet None + Pending Out, version 5, "Juliet" []`}, nil},
		{"3.1.1 roster set before the request", bothExist + "; romeo sets juliet Juliet; romeo -> juliet: subscribe",
			[]string{`=> juliet: romeo subscribe`, `>> romeo: push juliet None + Pending Out, version 4, "Juliet" []`}, nil},
		{"3.1.2 request to a full JID goes to the bare JID", bothExist + "; romeo -> juliet/balcony: subscribe",
			[]string{`=> juliet: romeo subscribe`, `romeo: juliet None + Pending Out, version 3`}, nil},
		{"3.1.2 request is routed, then pushed with ask", bothExist + "; romeo/orchard -> juliet: subscribe",
			[]string{`=> juliet: romeo subscribe`, `>> romeo: push juliet None + Pending Out, version 3`}, []string{"orchard"}},
		{"3.1.2 contact does not exist", "create romeo; romeo -> tybalt: subscribe",
			[]string{`=> tybalt: romeo subscribe`, `=> romeo: tybalt unsubscribed`, `>> romeo: tybalt unsubscribed`, `romeo: tybalt None, version 4`}, nil},
		{"3.1.3 request is not approved automatically", asked, []string{`>> juliet: romeo subscribe`, `juliet: romeo None + Pending In, version 0, not in the roster`}, []string{"subscribed"}},
		{"3.1.3 subscribe while already from", fromTo + "; romeo -> juliet: subscribe",
			[]string{`=> juliet: romeo subscribe`, `=> romeo: juliet subscribed`}, []string{">>"}},
		{"3.1.3 complete request is kept", bothExist + "; romeo -> juliet: subscribe it is me",
			[]string{`>> juliet: romeo subscribe "it is me"`, `juliet: romeo None + Pending In, version 0, not in the roster, request kept`}, nil},
		{"3.1.3 only one of several requests is delivered", asked + "; romeo -> juliet: subscribe again",
			[]string{`=> juliet: romeo subscribe "again"`}, []string{">>"}},
		{"3.1.3 request does not add to the roster", asked, []string{`>> juliet: push romeo None + Pending In, version 4, hidden`}, nil},
		{"A.1 request to an item in the roster keeps the item", bothExist + "; juliet sets romeo R; romeo -> juliet: subscribe",
			[]string{`>> juliet: push romeo None + Pending In, version 5, "R" [], hidden`, `juliet: romeo None + Pending In, version 3, "R" []`}, nil},
		{"3.1.5 approval is routed, then pushed as from", asked + "; juliet -> romeo: subscribed",
			[]string{`=> romeo: juliet subscribed`, `>> juliet: push romeo From, version 5`, `juliet: romeo From, version 5`}, nil},
		{"3.1.6 approval is delivered before the push", asked + "; juliet -> romeo: subscribed",
			[]string{`>> romeo: juliet subscribed`, `>> romeo: push juliet To, version 6`}, nil},
		{"3.1.6 second approval makes it mutual", mutual, []string{`>> juliet: romeo subscribed`, `>> juliet: push romeo Both, version 10`}, nil},
		{"3.1.6 approval of what was cancelled in between is ignored", asked + "; romeo -> juliet: unsubscribe; juliet -> romeo: subscribed",
			[]string{`juliet: romeo None, approved, version 7`}, []string{"=>", ">> romeo"}},

		// Section 3.2: cancelling.
		{"3.2.2 cancellation is routed and pushed", fromTo + "; juliet -> romeo: unsubscribed",
			[]string{`=> romeo: juliet unsubscribed`, `>> juliet: push romeo None, version 7`}, nil},
		{"3.2.2 cancellation of nothing is not routed", bothExist + "; juliet -> romeo: unsubscribed", nil, []string{"=>", ">>"}},
		{"3.2.2 denial", asked + "; juliet -> romeo: unsubscribed",
			[]string{`=> romeo: juliet unsubscribed`, `>> romeo: juliet unsubscribed`, `juliet: romeo unknown`, `romeo: juliet None, version 6`}, nil},
		{"3.2.3 cancellation is delivered before the push", fromTo + "; juliet -> romeo: unsubscribed",
			[]string{`>> romeo: juliet unsubscribed`, `>> romeo: push juliet None, version 8`}, nil},
		{"3.2.3 cancellation of both leaves from", mutual + "; juliet -> romeo: unsubscribed",
			[]string{`>> juliet: push romeo To, version 11`, `>> romeo: push juliet From, version 12`}, nil},

		// Section 3.3: unsubscribing.
		{"3.3.2 unsubscribe is routed and pushed", fromTo + "; romeo -> juliet: unsubscribe",
			[]string{`=> juliet: romeo unsubscribe`, `>> romeo: push juliet None, version 7`}, nil},
		{"3.3.3 unsubscribe is delivered before the push", fromTo + "; romeo -> juliet: unsubscribe",
			[]string{`>> juliet: romeo unsubscribe`, `>> juliet: push romeo None, version 8`, `juliet: romeo None, version 8`}, nil},
		{"3.3.3 unsubscribe of nothing is ignored", bothExist + "; romeo -> juliet: unsubscribe",
			[]string{`=> juliet: romeo unsubscribe`}, []string{">>"}},
		{"3.3.3 withdrawn request leaves no record", asked + "; romeo -> juliet: unsubscribe", []string{`juliet: romeo unknown`}, nil},
		{"3 verbs to oneself mean nothing", bothExist + "; juliet -> juliet: subscribe", nil, []string{"=>", ">>"}},

		// Section 3.4: approving before the request.
		{"3.4.2 pre-approval of who is not in the roster", bothExist + "; juliet -> romeo: subscribed",
			[]string{`>> juliet: push romeo None, approved, version 3`, `juliet: romeo None, approved, version 3`}, []string{"=>"}},
		{"3.4.2 pre-approval keeps the item", bothExist + "; juliet sets romeo R G; juliet -> romeo: subscribed",
			[]string{`>> juliet: push romeo None, approved, version 4, "R" ["G"]`}, []string{"=>"}},
		{"3.4.2 pre-approval while asking", bothExist + "; juliet -> romeo: subscribe; juliet -> romeo: subscribed",
			[]string{`>> juliet: push romeo None + Pending Out, approved, version 5`}, []string{"=>"}},
		{"3.4.2 second pre-approval", bothExist + "; juliet -> romeo: subscribed; juliet -> romeo: subscribed", nil, []string{"=>", ">>", "juliet:"}},
		{"3.4.2 approval of what was granted", fromTo + "; juliet -> romeo: subscribed", nil, []string{"=>", ">>"}},
		{"3.4.2 request after it is granted and not shown", bothExist + "; juliet -> romeo: subscribed; romeo -> juliet: subscribe",
			[]string{`=> juliet: romeo subscribe`, `>> juliet: push romeo From, version 5`, `=> romeo: juliet subscribed`,
				`>> romeo: juliet subscribed`, `>> romeo: push juliet To, version 6`, `juliet: romeo From, version 5`}, []string{">> juliet: romeo", "approved"}},
		{"3.4.2 request after it makes it mutual", fromTo + "; romeo -> juliet: subscribed; juliet -> romeo: subscribe",
			[]string{`>> romeo: push juliet Both, version 9`, `>> juliet: romeo subscribed`, `juliet: romeo Both, version 10`}, []string{">> romeo: juliet"}},
		{"3.2.2 cancellation of a pre-approval is not routed", bothExist + "; juliet -> romeo: subscribed; juliet -> romeo: unsubscribed",
			[]string{`>> juliet: push romeo None, version 4`, `juliet: romeo None, version 4`}, []string{"=>"}},
		{"3.2.2 request after a cancelled pre-approval is shown", bothExist + "; juliet -> romeo: subscribed; juliet -> romeo: unsubscribed; romeo -> juliet: subscribe",
			[]string{`>> juliet: romeo subscribe`, `juliet: romeo None + Pending In, version 4`}, []string{"subscribed"}},
		{"3.4.2 removal of the item ends a pre-approval", bothExist + "; juliet -> romeo: subscribed; juliet removes romeo; romeo -> juliet: subscribe",
			[]string{`>> juliet: romeo subscribe`}, []string{"subscribed"}},
		{"4.3.2 cancellation by the contact keeps a pre-approval", fromTo + "; romeo -> juliet: subscribed; juliet -> romeo: unsubscribed",
			[]string{`romeo: juliet None, approved, version 9`}, nil},
		{"3.4.2 pre-approval ends with the account", bothExist + "; juliet -> romeo: subscribed; delete juliet", []string{`juliet: romeo unknown`}, []string{"=>"}},

		// Limits that come with the request.
		{"2.3.3 full roster takes no new item", bothExist + "; limit 1; juliet sets romeo R; juliet/balcony sets nurse",
			[]string{`>> juliet: answer r1 of "balcony" from "" policy-violation`}, []string{"push", "nurse"}},
		{"2.4.2 full roster takes an update", bothExist + "; limit 1; juliet sets romeo R; juliet sets romeo S", []string{`juliet: romeo None, version 4, "S" []`}, []string{"policy"}},
		{"2.3.3 removed items and waiting requests do not fill a roster", asked + "; limit 1; juliet sets nurse; juliet removes nurse; juliet sets nurse",
			[]string{`juliet: nurse None, version 7`}, []string{"policy"}},
		{"3.1.2 full roster takes no request", bothExist + "; limit 1; juliet sets romeo R; juliet/balcony -> nurse: subscribe",
			[]string{`>> juliet: answer  of "balcony" from "nurse" policy-violation`}, []string{"=>", "push"}},
		{"3.1.5 full roster takes no approval", asked + "; limit 1; juliet sets nurse; juliet/balcony -> romeo: subscribed",
			[]string{`>> juliet: answer  of "balcony" from "romeo" policy-violation`}, []string{"=>", "push"}},
		{"3.1.3 no more requests wait than may", asked + "; create nurse; limit 1; nurse -> juliet: subscribe",
			[]string{`=> juliet: nurse subscribe`}, []string{">> juliet"}},
		{"3.1.3 request of who is in the roster is not counted", asked + "; create nurse; juliet sets nurse; limit 1; nurse -> juliet: subscribe",
			[]string{`>> juliet: nurse subscribe`}, nil},
		{"4.6.3 no more targets than may be", online + "; limit 1; juliet/balcony directs available romeo; juliet/balcony directs available nurse",
			[]string{`>> juliet: answer  of "balcony" from "nurse" policy-violation`}, []string{"=>", "directed"}},
		{"4.6.3 a target again, and one after another", online + "; limit 1; juliet/balcony directs available romeo; juliet/balcony directs available romeo; juliet/balcony directs unavailable romeo; juliet/balcony directs available nurse",
			[]string{`=> nurse: juliet/balcony directs available to "", version 11`, `juliet/balcony: directed to ["nurse"]`}, []string{"policy"}},

		// Section 4: presence.
		{"4.2 initial presence", online, []string{`juliet/balcony: available "" 0, version 4, since 4`}, nil},
		{"4.4.2 subsequent presence", online + "; juliet/balcony available xa 7", []string{`juliet/balcony: available "xa" 7, version 5, since 4`}, nil},
		{"4.5.2 unavailable keeps the resource connected", online + "; juliet/balcony unavailable bye", []string{`juliet/balcony: connected to e1/3 "bye", version 5, since 5`}, nil},
		{"4.5.2 presence after unavailable is initial", online + "; juliet/balcony unavailable; juliet/balcony available", []string{`juliet/balcony: available "" 0, version 6, since 6`}, nil},
		{"4.5.2 ungraceful end", online + "; juliet/balcony closes", []string{`juliet/balcony: gone`}, nil},
		{"4.5.2 end of an edge", online + "; lost e1/4", []string{`juliet/balcony: gone`}, nil},
		{"end of an earlier epoch", online + "; lost e1/2", nil, []string{"gone"}},
		{"late farewell of a replaced binding", online + "; juliet/balcony binds e2/1; juliet/balcony available; juliet/balcony#1 unavailable", nil, []string{"juliet"}},
		{"late close of a replaced binding", online + "; juliet/balcony binds e2/1; juliet/balcony#1 closes", nil, []string{"juliet"}},
		{"4.6.1 directed unavailable takes off the list", online + "; juliet/balcony directs available romeo; juliet/balcony directs unavailable romeo",
			[]string{`=> romeo: juliet/balcony directs unavailable to "", version 7`, `juliet/balcony: directed to []`}, nil},
		{"4.6.1 cancelling takes precedence", fromTo + "; juliet/balcony binds e1/3; juliet/balcony available; juliet/balcony directs available romeo; juliet -> romeo: unsubscribed",
			[]string{`=> romeo: juliet unsubscribed`, `=> romeo: juliet/balcony directs unavailable to "", version 11`, `juliet/balcony: directed to []`}, nil},
		{"4.6.1 unsubscribing takes precedence", fromTo + "; juliet/balcony binds e1/3; juliet/balcony available; juliet/balcony directs available romeo/orchard; romeo -> juliet: unsubscribe",
			[]string{`=> romeo: juliet/balcony directs unavailable to "orchard", version 12`, `juliet/balcony: directed to []`}, nil},
		{"4.6.1 removal takes precedence", fromTo + "; juliet/balcony binds e1/3; juliet/balcony available; juliet/balcony directs available romeo; juliet removes romeo",
			[]string{`=> romeo: juliet/balcony directs unavailable to "", version 11`, `=> romeo: juliet unsubscribed`, `juliet/balcony: directed to []`}, nil},
		{"4.6.1 cancelling concerns nobody else", fromTo + "; juliet/balcony binds e1/3; juliet/balcony available; juliet/balcony directs available nurse; juliet -> romeo: unsubscribed", nil, []string{"directs", "directed"}},
		{"4.6.3 rule 1 subscriber is noted too", fromTo + "; juliet/balcony binds e1/3; juliet/balcony available; juliet/balcony directs available romeo",
			[]string{`=> romeo: juliet/balcony directs available to "", version 9`, `juliet/balcony: directed to ["romeo"]`}, nil},
		{"4.6.3 rule 2 target hears of the end", online + "; juliet/balcony directs available romeo/orchard; juliet/balcony unavailable bye",
			[]string{`=> romeo: juliet/balcony directs unavailable to "orchard", version 7 "bye"`, `juliet/balcony: directed to []`}, nil},
		{"4.6.3 rule 2 target hears of an ungraceful end", online + "; juliet/balcony directs available romeo; lost e1/3",
			[]string{`=> romeo: juliet/balcony directs unavailable to "", version 7`}, nil},
		{"4.6.3 rule 2 target hears of a takeover", online + "; juliet/balcony directs available romeo; juliet/balcony binds e2/1",
			[]string{`=> romeo: juliet/balcony directs unavailable to "", version 7`}, nil},
		{"4.6.3 rule 2 target is told once", online + "; juliet/balcony directs available romeo; juliet/balcony unavailable; juliet/balcony closes",
			[]string{`juliet/balcony: gone`}, []string{"=>"}},
		{"4.6.3 rule 3 without initial presence", fromTo + "; juliet/balcony binds e1/3; juliet/balcony directs available romeo; juliet/balcony closes",
			[]string{`=> romeo: juliet/balcony directs unavailable to "", version 10`}, nil},

		// Section 8.5: messages.
		{"8.5.1 message to no account", "create romeo; romeo/orchard -> tybalt: chat hi", []string{`>> romeo: answer m1 of "orchard" from "tybalt" service-unavailable`, `=> tybalt: message 2 from romeo/orchard of 2 is withheld: refused`}, []string{"=> romeo"}},
		{"8.5.1 headline to no account", "create romeo; romeo/orchard -> tybalt: headline hi", nil, []string{">>", "=>"}},
		{"8.5.1 error to no account", "create romeo; romeo/orchard -> tybalt: error hi", nil, []string{">>", "=>"}},
		{"8.5.1 other verbs to no account", "create romeo; romeo -> tybalt: unsubscribe", []string{`=> tybalt: romeo unsubscribe`}, []string{">>", "=> romeo"}},
		{"8.5.2.1.1 chat waits until delivered", online + "; romeo/orchard -> juliet: chat hi", []string{`=> romeo: "orchard" sent "hi" to juliet`, `juliet: message 5 from romeo/orchard waits: "hi"`}, nil},
		{"8.5.2.1.1 delivered", online + "; romeo/orchard -> juliet: chat hi; juliet/balcony took 5", []string{`juliet: message 5 is out of the inbox`}, nil},
		{"8.5.2.1.1 groupchat bounces", online + "; romeo/orchard -> juliet: groupchat hi", []string{`>> romeo: answer m1 of "orchard" from "juliet" service-unavailable`}, []string{"=>", "waits"}},
		{"8.5.2.1.1 headline is not stored", online + "; romeo/orchard -> juliet: headline hi", []string{`=> romeo: "orchard" sent "hi" to juliet`}, []string{"waits"}},
		{"8.5.2.1.1 error is ignored", online + "; romeo/orchard -> juliet: error hi", nil, []string{"=>", ">>", "waits"}},
		{"8.5.2.2.1 normal without a resource is stored", bothExist + "; romeo/orchard -> juliet: normal hi", []string{`juliet: message 3 from romeo/orchard waits: "hi"`}, nil},
		{"8.5.3.1 full JID", online + "; romeo/orchard -> juliet/balcony: normal hi", []string{`=> romeo: "orchard" sent "hi" to juliet/balcony`, `juliet: message 5 from romeo/orchard waits: "hi"`}, nil},
		{"8.5.3.2.1 chat without a match", online + "; romeo/orchard -> juliet/x: chat hi", []string{`juliet: message 5 from romeo/orchard waits: "hi"`}, nil},
		{"8.5.3.2.1 normal without a match bounces", online + "; romeo/orchard -> juliet/x: normal hi", []string{`>> romeo: answer m1 of "orchard" from "juliet/x" service-unavailable`, `=> juliet: message 5 from romeo/orchard of 5 is withheld: refused`}, []string{"waits", "=> romeo"}},
		{"message to oneself", online + "; juliet/balcony -> juliet: chat note", []string{`=> juliet: "balcony" sent "note" to juliet`, `juliet: message 5 from juliet/balcony waits: "note"`}, nil},
		{"lone chat state is not stored", bothExist + "; romeo/orchard -> juliet: chat", []string{`=> romeo: "orchard" sent "" to juliet`}, []string{"waits"}},

		// XEP-0359: a message that the sender's client sends again.
		{"XEP-0359 a copy is dropped", bothExist + "; romeo/orchard -> juliet: chat hi {o1}; romeo/orchard -> juliet: chat hi {o1}",
			[]string{`=> juliet: message 5 from romeo/orchard of 5 is withheld: copy`}, []string{">>", "sent", "waits", "origins"}},
		{"XEP-0359 a copy by another session is one", bothExist + "; romeo/orchard -> juliet: chat hi {o1}; romeo/street -> juliet/x: chat hi {o1}",
			[]string{`=> juliet: message 5 from romeo/street of 5 is withheld: copy`}, []string{"waits"}},
		{"XEP-0359 the same id of another account is none", bothExist + "; create nurse; romeo/orchard -> juliet: chat hi {o1}; nurse/hall -> juliet: chat hi {o1}",
			[]string{`juliet: message 6 from nurse/hall waits: "hi"`, `juliet: origins of [4 6]`}, []string{"withheld"}},
		{"XEP-0359 the same id to another account is none", bothExist + "; create nurse; romeo/orchard -> juliet: chat hi {o1}; romeo/orchard -> nurse: chat hi {o1}",
			[]string{`nurse: message 6 from romeo/orchard waits: "hi"`}, []string{"withheld"}},
		{"XEP-0359 a copy of what was delivered is one", online + "; romeo/orchard -> juliet: chat hi {o1}; juliet/balcony took 5; romeo/orchard -> juliet: chat hi {o1}",
			[]string{`=> juliet: message 8 from romeo/orchard of 8 is withheld: copy`}, []string{"waits"}},
		{"XEP-0359 what was refused may be sent again", online + "; romeo/orchard -> juliet/x: normal hi {o1}; romeo/orchard -> juliet: normal hi {o1}",
			[]string{`juliet: message 7 from romeo/orchard waits: "hi"`}, []string{"withheld"}},
		{"XEP-0359 a copy's stanza is handled", bothExist + "; romeo/orchard binds e1/3; romeo/orchard -> juliet: chat hi {o1} [1<0]; romeo/orchard -> juliet: chat hi {o1} [2<1]",
			[]string{`=> juliet: message 6 from romeo/orchard of 6 is withheld: copy`, `=> romeo: stanza_handled 2<1`}, nil},

		// XEP-0160, section 3, step 2: how much waits is limited.
		{"XEP-0160 a full inbox refuses", bothExist + "; limit 1; romeo/orchard -> juliet: chat 1; romeo/orchard -> juliet: chat 2",
			[]string{`>> romeo: answer m1 of "orchard" from "juliet" service-unavailable`, `=> juliet: message 5 from romeo/orchard of 5 is withheld: refused`}, []string{"waits", "sent"}},
		{"XEP-0160 with room again it takes", bothExist + "; limit 1; romeo/orchard -> juliet: chat 1; juliet/balcony took 3; romeo/orchard -> juliet: chat 2",
			[]string{`juliet: message 6 from romeo/orchard waits: "2"`}, []string{">>"}},
		{"XEP-0160 whom a resource takes for has no limit", online + "; limit 1; romeo/orchard -> juliet: chat 1; romeo/orchard -> juliet: chat 2",
			[]string{`juliet: message 7 from romeo/orchard waits: "2"`}, []string{">>"}},
		{"XEP-0160 a copy is no error in a full inbox", bothExist + "; limit 1; romeo/orchard -> juliet: chat 1 {o1}; romeo/orchard -> juliet: chat 1 {o1}",
			[]string{`=> juliet: message 5 from romeo/orchard of 5 is withheld: copy`}, []string{">>"}},
		{"XEP-0160 what does not wait has no limit", bothExist + "; limit 1; romeo/orchard -> juliet: chat 1; romeo/orchard -> juliet: chat", nil, []string{">>", "withheld"}},
		{"a message expires", bothExist + "; romeo/orchard -> juliet: chat hi; juliet expires 3", []string{`juliet: message 3 is out of the inbox`}, nil},
		{"a message expires once", bothExist + "; romeo/orchard -> juliet: chat hi; juliet expires 3; juliet expires 3", nil, []string{"juliet"}},
		{"what expired and comes again is a copy", bothExist + "; romeo/orchard -> juliet: chat hi {o1}; juliet expires 3; romeo/orchard -> juliet: chat hi {o1}",
			[]string{`=> juliet: message 6 from romeo/orchard of 6 is withheld: copy`}, []string{"waits"}},

		// The account itself.
		{"created twice", bothExist + "; create juliet", nil, []string{"juliet"}},
		{"nothing before it exists", "juliet/balcony binds e1/3", nil, []string{"juliet"}},
		{"deletion cancels both ways", mutual + "; delete juliet", []string{`=> romeo: juliet unsubscribe`, `=> romeo: juliet unsubscribed`, `juliet: romeo unknown`, `romeo: juliet None, version 13`}, nil},
		{"deletion withdraws a request", asked + "; delete romeo", []string{`=> juliet: romeo unsubscribe`, `juliet: romeo unknown`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newWorld().run(t, strings.Split(c.script, "; ")...)
			at := 0
			for _, want := range c.has {
				i := slices.IndexFunc(got[at:], func(s string) bool { return strings.TrimSpace(s) == want })
				if i < 0 {
					t.Fatalf("no answer %q, or not in this place:\n%s", want, strings.Join(got, "\n"))
				}
				at += i + 1
			}
			text := strings.Join(got, "\n") + "\n"
			for _, piece := range c.hasNot {
				if strings.Contains(text, piece) {
					t.Errorf("%q must not be there:\n%s", piece, text)
				}
			}
		})
	}
}

// The stored request is the complete presence (RFC 6121, section 3.1.3).
func TestRequestIsAnEncodedPresence(t *testing.T) {
	s := New(bare("juliet"))
	s.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{}})
	p := &event.Presence{Status: "it is me", Payload: []byte("<x xmlns='y'/>"), Lang: "en", Id: "p1"}
	s.Apply(2, &event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{
		Contact: "romeo@example.com", Verb: event.Verb_VERB_SUBSCRIBE, Presence: p}}})
	var got event.Presence
	if err := proto.Unmarshal(s.Roster[bare("romeo")].Request, &got); err != nil || !proto.Equal(&got, p) {
		t.Errorf("%v %v", &got, err)
	}
}

// Malformed and unknown content folds to nothing instead of failing.
func TestOddEvents(t *testing.T) {
	s := New(bare("juliet"))
	s.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{}})
	s.Changes.Reset()
	for _, e := range []*event.Event{
		{},
		{Kind: &event.Event_SubscriptionSent{}},
		{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: "romeo@example.com", Verb: 9}}},
		{Kind: &event.Event_RosterItemSet{}},
		{Kind: &event.Event_RosterItemRemoved{}},
		{Kind: &event.Event_PresenceAvailable{}},
		{Kind: &event.Event_PresenceUnavailable{}},
		{Kind: &event.Event_DirectedPresence{}},
		{Kind: &event.Event_DirectedReceived{}},
		{Kind: &event.Event_ResourceClosed{}},
		{Kind: &event.Event_MessageAccepted{}},
		{Kind: &event.Event_MessageSent{}},
		{Kind: &event.Event_Delivered{}},
		{Kind: &event.Event_MessageExpired{}},
		{Kind: &event.Event_MessageWithheld{}},
		{Kind: &event.Event_EdgeLost{}},
	} {
		if reactions := s.Apply(2, e); len(reactions) != 0 || !s.Changes.Empty() {
			t.Errorf("%v: %d reactions", e, len(reactions))
		}
	}
}

func TestPriorityIsCut(t *testing.T) {
	for given, want := range map[int32]int8{500: 127, -500: -128, 5: 5} {
		if got := content(&event.Presence{Priority: given}); got.Priority != want {
			t.Errorf("%d became %d", given, got.Priority)
		}
	}
}
