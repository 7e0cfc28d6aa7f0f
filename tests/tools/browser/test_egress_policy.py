"""Which addresses, hosts and URLs may be reached, in every spelling that programs understand."""

from __future__ import annotations

import ipaddress
import random

import psutil
import pytest
from agenthost.tools.egress.addresses import is_own, is_public, literal
from agenthost.tools.egress.errors import Refused
from agenthost.tools.egress.policy import EgressPolicy, HostRule, rules
from agenthost.tools.egress.target import Target, canonical_host, split_authority

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "100.100.100.200", "169.254.169.254", "169.254.0.1", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2001::1", "2001:0:7f00:1::",
    "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1",
    "fec0::1", "ff02::1", "100::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_leads_inside_is_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450::1"])
def test_an_address_of_the_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_no_address_that_holds_a_private_one_is_public():
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    for _ in range(2000):
        inner = int(ipaddress.ip_address(generator.choice(["10.0.0.0", "127.0.0.0", "192.168.0.0"])))
        inner |= generator.getrandbits(16)
        for outer in (inner, 0xFFFF << 32 | inner, 0x64FF9B << 96 | inner, 0x2002 << 112 | inner << 80):
            assert not is_public(ipaddress.IPv6Address(outer))
        assert not is_public(ipaddress.IPv4Address(inner))


def test_this_hosts_own_addresses_are_known():
    entries = [entry for group in psutil.net_if_addrs().values() for entry in group]
    own = [entry.address.partition("%")[0] for entry in entries if entry.family.name in ("AF_INET", "AF_INET6")]
    assert own
    assert all(is_own(ipaddress.ip_address(address)) for address in own)
    assert not is_own(ipaddress.ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "127。0。0。1",
    ],
)
def test_other_spellings_of_an_address_are_that_address(host):
    assert canonical_host(host) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("EXAMPLE.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ⓛocalhost", "localhost"),
        ("under_score.example", "under_score.example"),
        ("[::FFFF:7f00:1]", str(ipaddress.ip_address("::ffff:127.0.0.1"))),
        ("0", "0.0.0.0"),
    ],
)
def test_a_host_has_one_spelling(host, canonical):
    assert canonical_host(host) == canonical


@pytest.mark.parametrize(
    "host", ["", ".", "a..b", "1.2.3.4.5", "256.1.1.1", "0x", "a b", "a\0b", "x" * 300, "-", "a/b", "a@b"]
)
def test_what_is_no_host_is_refused(host):
    try:
        canonical = canonical_host(host)
    except Refused:
        return
    assert literal(canonical) is None or ipaddress.ip_address(canonical)
    assert not set(canonical) & set(" /@\0")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/", "data:text/html,x", "javascript:alert(1)", "about:blank",
        "view-source:http://example.com", "chrome://version", "blob:http://example.com/1", "ws://example.com", "gopher://x",
        "//example.com/", "example.com", "", "http://", "http:///path", "http://user@example.com/",
        "http://good.example@evil.example/", "http://a:b@example.com/", "http://example.com\\@evil.example/",
        "http://example.com/ a", "http://example.com/\n", "http://exam\tple.com/", "http://[::1", "http://example.com:99999/",
        "http://example.com:x/", "http://1.2.3.4.5/", "http://" + "a" * 9000,
    ],
)  # fmt: skip
def test_a_url_that_is_not_plainly_http_is_refused(url):
    with pytest.raises(Refused):
        Target.parse(url)


@pytest.mark.parametrize(
    ("url", "canonical", "host", "port"),
    [
        ("HTTP://Example.COM", "http://example.com/", "example.com", 80),
        ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c", "example.com", 443),
        ("http://0x7f.1:8080/x", "http://127.0.0.1:8080/x", "127.0.0.1", 8080),
        ("http://[::1]:81", "http://[::1]:81/", "::1", 81),
    ],
)
def test_a_url_has_one_spelling(url, canonical, host, port):
    target = Target.parse(url)
    assert (target.url, target.host, target.port) == (canonical, host, port)


@pytest.mark.parametrize(
    "text", ["example.com", "example.com:", "example.com:0", "example.com:65536", ":80", "::1:80", "a/b:80", "u@h:80"]
)
def test_an_authority_needs_host_and_port(text):
    with pytest.raises(Refused):
        split_authority(text)


def refused(policy: EgressPolicy, host: str, port: int = 80, address: str = "8.8.8.8") -> bool:
    try:
        policy.check_host(host, port)
        policy.check_address(host, port, ipaddress.ip_address(address))
    except Refused:
        return True
    return False


def test_a_refusal_does_not_tell_where_a_name_points():
    with pytest.raises(Refused) as refusal:
        EgressPolicy().check_address("example.com", 80, ipaddress.ip_address("10.11.12.13"))
    assert "10.11" not in str(refusal.value)


def test_by_default_the_internet_is_open_on_the_webs_ports():
    policy = EgressPolicy()
    assert not refused(policy, "example.com")
    assert not refused(policy, "example.com", 443)
    assert refused(policy, "example.com", 22)
    assert refused(policy, "example.com", 80, "10.0.0.1")
    assert refused(policy, "localhost", 80, "127.0.0.1")


def test_the_operator_can_allow_a_private_host_on_one_port():
    policy = EgressPolicy(allow=rules(["intra.example:8080", "10.1.2.3"]))
    assert not refused(policy, "intra.example", 8080, "10.0.0.1")
    assert refused(policy, "intra.example", 80, "10.0.0.1")
    assert refused(policy, "sub.intra.example", 8080, "10.0.0.1")
    assert not refused(policy, "10.1.2.3", 80, "10.1.2.3")
    assert refused(policy, "10.1.2.3", 8080, "10.1.2.3")


def test_an_allowed_name_does_not_lead_to_a_metadata_service():
    policy = EgressPolicy(allow=rules(["intra.example"]))
    assert refused(policy, "intra.example", 80, "169.254.169.254")
    assert refused(policy, "intra.example", 80, "::ffff:169.254.169.254")


def test_a_wildcard_does_not_open_private_addresses():
    policy = EgressPolicy(allow=rules(["*.example.com"]))
    assert refused(policy, "a.example.com", 80, "127.0.0.1")


def test_a_session_can_be_held_to_some_hosts():
    policy = EgressPolicy(only=rules(["example.com", "*.example.org", "example.net:8443"]))
    assert not refused(policy, "example.com", 443)
    assert not refused(policy, "a.b.example.org")
    assert not refused(policy, "example.net", 8443)
    assert refused(policy, "example.org")
    assert refused(policy, "example.net", 443)
    assert refused(policy, "other.example")
    assert refused(policy, "notexample.com")
    assert refused(policy, "example.com", 80, "127.0.0.1")


@pytest.mark.parametrize("text", ["", "a b", "http://example.com", "example.com:x", "example.com:0", "[::1", "*."])
def test_a_rule_that_cannot_be_read_is_an_error(text):
    with pytest.raises(ValueError, match="is not a host"):
        HostRule.parse(text)


def test_rules_are_read():
    assert HostRule.parse("[::1]:80") == HostRule("::1", 80)
    assert HostRule.parse("::1") == HostRule("::1")
    assert HostRule.parse("Example.COM") == HostRule("example.com")
    assert HostRule.parse("*.example.com:8080") == HostRule("example.com", 8080, subdomains=True)


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("a.example", True),
        ("A.Example.", True),
        ("b.example", False),
        ("x.wide.example", True),
        ("*.x.wide.example", True),
        ("*.wide.example", True),
        ("wide.example", False),
        ("xwide.example", False),
        ("x.wide.example:8080", False),
        ("port.example:8080", True),
        ("port.example", False),
        ("*.example", False),
    ],
)
def test_a_narrower_policy_allows_nothing_that_the_wider_one_does_not(host, covered):
    policy = EgressPolicy(only=rules(["a.example", "*.wide.example", "port.example:8080"]))
    (rule,) = rules([host])
    assert policy.covers(rule) is covered
    assert policy.narrowed([host]).only == ((rule,) if covered else ())
    assert EgressPolicy().covers(rule)
