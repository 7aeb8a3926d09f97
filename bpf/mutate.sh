#!/bin/sh
# Mutation check of the verifier: takes one check after the other out of the C
# source, compiles it, and requires that the named test then fails. Needs clang (or
# BPF2GO_CC=clang-14), libbpf's headers and what the tests need. Prints a line per
# mutation; fails if one survives.
# shellcheck disable=SC2016 # the dollars are perl's
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CI=true # a test that skips proves nothing
survivors=0
only=${1-} # part of the names of the mutations to try

# mutate NAME TEST FILE PERL: applies the perl expression to the file and expects
# the test to fail.
mutate() {
	case $1 in *"$only"*) ;; *) return ;; esac
	rm -rf "$work/bpf"
	mkdir -p "$work/bpf/verifier"
	cp -r headers "$work/bpf/headers"
	cp verifier/verifier.c "$work/bpf/verifier/"
	perl -0pi -e "$4" "$work/bpf/$3"
	if cmp -s "$3" "$work/bpf/$3"; then
		echo "BROKEN    $1: the expression changes nothing"
		survivors=$((survivors + 1))
		return
	fi
	"${BPF2GO_CC:-clang}" -O2 -g -mcpu=v3 -target bpf -I "$work/bpf/headers" \
		-idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu \
		-c "$work/bpf/verifier/verifier.c" -o "$work/mutant.o"
	printf '{"Replace":{"%s/verifier/bpf_bpfel.o":"%s/mutant.o"}}' "$PWD" "$work" >"$work/overlay.json"
	if go test -overlay "$work/overlay.json" -count 1 -timeout 60s -run "^$2\$" ./verifier >"$work/log" 2>&1; then
		echo "SURVIVED  $1: $2 passes"
		survivors=$((survivors + 1))
	elif grep -q -- "--- FAIL: $2" "$work/log" && ! grep -q 'load: ' "$work/log"; then
		echo "killed    $1: $2"
	else
		echo "BROKEN    $1: $2 did not get to fail"
		cat "$work/log"
		survivors=$((survivors + 1))
	fi
}

C=verifier/verifier.c
P=headers/packet.h
R=headers/replay.h
K=headers/contact.h
A=headers/answer.h
mutate "not_mesh: port"              TestNotMesh           $P 's/if \(udp->dest != port\)\s+return PACKET_OTHER;//'
mutate "not_mesh: later fragment"    TestNotMesh           $P 's/if \(frag & 0x1fff\)\s+return PACKET_OTHER;//'
mutate "malformed: IP fragment"      TestMalformed         $P 's/(d->source_port = udp->source;.*?)if \(fragment\)\s+return PACKET_FRAGMENT;/$1/s'
mutate "malformed: IP length"        TestMalformed         $P 's/ \|\| end > p->length \|\| d->udp \+ length != end//'
mutate "malformed: VLAN tags"        TestMalformed         $P 's/(i == PACKET_MAX_VLANS\)\s+return) PACKET_HIDDEN/$1 PACKET_OTHER/'
mutate "malformed: extensions"       TestMalformed         $P 's/return PACKET_HIDDEN;(\s+\}\s+\/\* Finds)/return PACKET_OTHER;$1/'
mutate "malformed: magic"            TestMalformed         $C 's/f->magic != bpf_htons\(FRAME_MAGIC\) \|\| //'
mutate "malformed: version"          TestMalformed         $C 's/ \|\| f->version != FRAME_VERSION//'
mutate "malformed: payload limit"    TestMalformed         $C 's/length > FRAME_MAX_PAYLOAD \|\|/length > FRAME_MAX_PAYLOAD + 8 ||/'
mutate "malformed: length"           TestMalformed         $C 's/ \|\| length != bpf_ntohs\(f->length\)//'
mutate "malformed: fragments"        TestMalformed         $C 's/f->fragments > FRAME_MAX_FRAGMENTS \|\| //'
mutate "malformed: fragment"         TestMalformed         $C 's/ \|\| f->fragment >= f->fragments//'
mutate "malformed: class"            TestMalformed         $C 's/(FRAME_SEQUENCE_BITS\);\s+\}\s+)return false;/$1return true;/'
mutate "malformed: sequence 0"       TestMalformed         $C 's/return sequence && /return /'
mutate "malformed: sequence range"   TestMalformed         $C 's/sequence && !\(sequence >> FRAME_SEQUENCE_BITS\)/sequence/'
mutate "malformed: handshake fields" TestMalformed         $C 's/return !\(f->session\[0\].*?\);/return true;/'
mutate "malformed: several, tcx"     TestSegmentationOffload $C 's/if \(skb->gso_size\)\s+kind = PACKET_HIDDEN;//'
mutate "malformed: several, generic" TestSegmentationOffload $C 's/if \(several_datagrams\(ctx\)\)\s+kind = PACKET_HIDDEN;//'
mutate "malformed: dropped"          TestMalformed         $C 's/enum verdict verdict = VERDICT_MALFORMED/enum verdict verdict = VERDICT_PASS/'
mutate "malformed: by its rule"      TestMalformed         $C 's/\t\tcount\(broken\);//'
mutate "malformed: fragments apart"  TestMalformed         $C 's/(case PACKET_FRAGMENT:\s+return) COUNTER_FRAGMENT/$1 COUNTER_HIDDEN/'
mutate "malformed: lengths apart"    TestMalformed         $C 's/(p->data_end\)\s+return) COUNTER_LENGTH/$1 COUNTER_HEADER/'
mutate "rate_limited"                TestHandshakeLimit    $C 's/handshake_allowed\(d, proven, now\) \?\s+VERDICT_PASS\s+: VERDICT_RATE_LIMITED/VERDICT_PASS/'
mutate "contact: single sources"     TestHandshakeLimit    $K 's/if \(!\(proven \? source_allowed.*?return false;//s'
mutate "contact: all of a kind"      TestContactKinds      $K 's/return all && bucket_take\(.*?\);/return all;/'
mutate "contact: reserve of peers"   TestContactKinds      $K 's/kind \|= CONTACT_KNOWN;//'
mutate "contact: proven apart"       TestContactKinds      $K 's/proven \? CONTACT_PROVEN : 0/0/'
mutate "contact: owner apart"        TestContactKinds      $K 's/source_allowed\(&proven_buckets/source_allowed(&handshake_buckets/'
mutate "contact: any answer proven"  TestAnswersToCalls    $K 's/return to && same_address\(to, d->source\);/return true;/'
mutate "contact: no answer proven"   TestAnswersToCalls    $K 's/return to && same_address\(to, d->source\);/return false;/'
mutate "contact: answer in a name"   TestAnswersToCalls    $K 's/return to && same_address\(to, d->source\);/return to;/'
mutate "contact: address in whole"   TestAnswersToCalls    $K 's/return a\[0\] == b\[0\].*?;/return a[3] == b[3];/'
mutate "contact: address, last"      TestAnswersToCalls    $K 's/ && a\[3\] == b\[3\]//'
mutate "contact: cookie checked"     TestCookies           $K 's/return token\[0\] == cookie.*?;/return true;/s'
mutate "contact: cookie in whole"    TestCookies           $K 's/ \|\| token\[1\]//'
mutate "contact: secret"             TestCookies           $K 's/token\[0\] == cookie\(secrets->current, d, prefix\) \|\|//'
mutate "contact: secret before"      TestCookies           $K 's/ \|\|\s+token\[0\] == cookie\(secrets->previous, d, prefix\)//'
mutate "contact: cookie, address"    TestCookies           $K 's/__builtin_memcpy\(words, d->source, sizeof\(d->source\)\)/words[0] = words[1] = 0/'
mutate "contact: cookie, port"       TestCookies           $K 's/\(__u64\)d->source_port \| //'
mutate "contact: cookie, call"       TestCookies           $K 's/call->call\[0\] >> 48 \| rest << 16/0/'
mutate "contact: answer"             TestCookies           $C 's/(if \(handshake_answerable.*?\)\)\s+outcome =) OUTCOME_ANSWER/$1 OUTCOME_DROP/'
mutate "contact: answer to inits"    TestCookies           $K 's/f->type == FRAME_HANDSHAKE_INIT && !f->fragment/!f->fragment/'
mutate "contact: one answer a call"  TestCookies           $K 's/ && !f->fragment//'
mutate "contact: no second answer"   TestCookies           $K 's/return !proven && /return /'
mutate "contact: smaller answer"     TestCookies           $K 's/FRAME_HANDSHAKE_PREFIX \+ FRAME_COOKIE_LEN;/FRAME_HANDSHAKE_PREFIX;/'
mutate "contact: plain packets"      TestCookies           $A 's/ \|\| d->udp != udp//'
mutate "contact: to this interface"  TestCookies           $A 's/if \(eth->h_dest\[i\] != own\[i\]\)\s+return false;/;/'
mutate "contact: not from a group"   TestCookies           $A 's/ \|\| \(eth->h_source\[0\] & 1\)//'
mutate "contact: not to many, IPv6"  TestCookies           $A 's/source\[0\] != 0xff/true/'
mutate "contact: not to many, IPv4"  TestCookies           $A 's/source\[12\] < 224/true/'
mutate "contact: checksum"           TestCookies           $A 's/sum \? sum : 0xffff/0/'
mutate "contact: header checksum"    TestCookies           $A 's/a->ipv4.ip.check = .*?;//'
mutate "contact: unfinished"         TestCookieChecksumOffload $A 's/if \(offload && .*?return true;\s+\}//s'
mutate "contact: finished"           TestCookieChecksumOffload $A 's/if \(offload && /if (/'
mutate "contact: answers counted"    TestCookies           $C 's/count\(COUNTER_COOKIE\);//g'
mutate "no_session"                  TestCarriers          $C 's/(if \(!session\)\s+return) VERDICT_NO_SESSION/$1 VERDICT_PASS/'
mutate "revoked"                     TestSessionVerdicts   $C 's/if \(state->revoked\)\s+return VERDICT_REVOKED;//'
mutate "expired"                     TestSessionVerdicts   $C 's/if \(state->expires <= now\)\s+return VERDICT_EXPIRED;//'
mutate "expired: not verified"       TestSessionVerdicts   $C 's/if \(state->verified_until <= now\)\s+return VERDICT_EXPIRED;//'
mutate "bad_tag"                     TestBitFlips          $C 's/if \(!tag_matches\(session, f\)\)\s+return VERDICT_BAD_TAG;//'
mutate "bad_tag: SipHash rotation"   TestSipHashAgreement  headers/siphash.h 's/s->v1, 13/s->v1, 14/'
mutate "bad_tag: before revoked"     TestOnlyThePeerIsToldOf $C 's/(\tif \(!tag_matches\(session, f\)\)\s+return VERDICT_BAD_TAG;\n)(.*?return VERDICT_REVOKED;\n)/$2$1/s'
mutate "bad_tag: before expired"     TestOnlyThePeerIsToldOf $C 's/(\tif \(!tag_matches\(session, f\)\)\s+return VERDICT_BAD_TAG;\n)(.*?return VERDICT_EXPIRED;\n)/$2$1/s'
mutate "bad_tag: before the window"  TestForgeryLeavesWindow $C 's/(\tif \(!tag_matches\(session, f\)\)\s+return VERDICT_BAD_TAG;\n)(.*?return VERDICT_REPLAY;\n)/$2$1/s'
mutate "replay"                      TestCarriers          $C 's/if \(!replay_accept\(window, bpf_be64_to_cpu\(f->sequence\)\)\)\s+return VERDICT_REPLAY;//'
mutate "replay: seen"                TestWindowEdges       $R 's/if \(next == old\)\s+return false;//'
mutate "replay: too old"             TestWindowEdges       $R 's/if \(sequence \+ FRAME_REPLAY_WINDOW <= highest\)\s+return false;//'
mutate "replay: window size"         TestWindowEdges       $R 's/sequence \+ FRAME_REPLAY_WINDOW <=/sequence + FRAME_REPLAY_WINDOW - 1 <=/'
mutate "replay: atomic"              TestWindowTwoCPUs     $R 's/seen = __sync_val_compare_and_swap\(word, old, next\);/seen = old; *(volatile __u64 *)word = next;/'
mutate "signature: not to the socket" TestSessionVerdicts  $C 's/\*deliver = false;//'
mutate "signature: ring"             TestSignatureEvents   $C 's/emit_signature\(p, f, length\);//'
mutate "signature: loss counted"     TestSignatureRingFull $C 's/(void emit_signature.*?if \(!event\) \{\s+)count\(COUNTER_RING_LOST\);/$1/s'
mutate "reports: loss counted"       TestReportRingFull    $C 's/(void report\(.*?if \(!event\) \{\s+)count\(COUNTER_RING_LOST\);/$1/s'
mutate "reports: made"               TestReports           $C 's/report\(verdict, d, frame, now\);//'
mutate "reports: limited"            TestReportsUnderFlood $C 's/ \|\| !bucket_take\(bucket, now, report_interval, report_tolerance\)//'
mutate "reports: a bucket per verdict" TestReportsUnderFlood $C 's/(__u64 \*bucket = bpf_map_lookup_elem\(&report_buckets, )&verdict/__u32 one = 1; $1&one/'

[ $survivors -eq 0 ] || { echo "$survivors mutations were not killed"; exit 1; }
echo "all mutations were killed"
