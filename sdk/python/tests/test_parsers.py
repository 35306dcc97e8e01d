"""Bytes from outside, in any pieces: what is parsed does not depend on where they were cut, and nothing else is raised."""

from __future__ import annotations

import json
import random
import unittest

from caisson import CaissonError, connection
from caisson._ask import Ask, at, head_of, keyed
from caisson._frames import Frames
from caisson._http1 import Response
from caisson._sse import Events
from caisson._values import Lines, Output, output_of
from caisson._where import instance_id, instance_socket
from caisson.errors import problem

from given import pieces

ROUNDS = 3_000
NONCE = "0123456789abcdef" * 2


class EventStreams(unittest.TestCase):
    def test_events_are_the_same_wherever_the_bytes_are_cut(self):
        chance = random.Random(1)
        for _ in range(ROUNDS):
            wanted, text = [], chance.choice(["", "\ufeff"])
            for number in range(chance.randrange(6)):
                end = chance.choice(["\n", "\r\n", "\r"])
                data = "".join(chance.choice("aé{}:\u2028 ") for _ in range(chance.randrange(9)))
                text += chance.choice(["", ": beat" + end, "retry: 3" + end + "event: lost" + end + end])
                text += f"id: {number}{end}event:e{number}{end}data: {data}{end}data:2{end}{end}"
                wanted.append((f"e{number}", f"{data}\n2", str(number)))
            parser = Events()
            found = [event for piece in pieces(text.encode() + b"data: cut", chance) for event in parser.feed(piece)]
            self.assertEqual([(event.name, event.data, event.id) for event in found], wanted, text)

    def test_an_event_without_an_end_is_refused_before_it_fills_the_memory(self):
        parser = Events()
        with self.assertRaises(CaissonError) as caught:
            for _ in range(64):
                parser.feed(b"data: " + b"x" * 1_000_000)
        self.assertEqual(caught.exception.code, "ANSWER_INVALID")

    def test_output_before_what_was_seen_is_dropped_and_a_gap_is_refused(self):
        data = {"stream": "stdout", "offset": 10, "data": "YWJjZA=="}
        self.assertEqual(output_of(data, 12), Output("stdout", 12, b"cd"))
        self.assertIsNone(output_of(data, 14))
        for broken in [data | {"offset": 13}, data | {"offset": -1}, data | {"stream": "x"}, data | {"data": "?"}, {}, None, 3]:
            with self.assertRaises(CaissonError):
                output_of(broken, 12)


class Responses(unittest.TestCase):
    def test_bodies_are_the_same_wherever_the_bytes_are_cut(self):
        chance = random.Random(2)
        for _ in range(ROUNDS):
            body = chance.randbytes(chance.randrange(200))
            kind = chance.choice(["length", "chunked", "close"])
            head = b"HTTP/1.1 100 Continue\r\n\r\n" * chance.randrange(2) + b"HTTP/1.1 200 OK\r\nX-A:  b \r\n"
            if kind == "length":
                raw = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            elif kind == "chunked":
                parts = [part for part in pieces(body, chance) if part]
                raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%X;e=1\r\n%b\r\n" % (len(part), part) for part in parts)
                raw += b"0\r\nTrailer: 1\r\n\r\n"
            else:
                raw = head + b"\r\n" + body
            answer = Response("GET")
            found = b"".join(part for piece in pieces(raw, chance) for part in answer.feed(piece))
            self.assertTrue(answer.eof())
            self.assertEqual((found, answer.status, answer.headers["x-a"], answer.rest), (body, 200, "b", b""))

    def test_an_answer_that_is_cut_short_is_never_whole(self):
        for raw in [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"]:
            for end in range(len(raw)):
                answer = Response("GET")
                answer.feed(raw[:end])
                self.assertFalse(answer.eof(), raw[:end])

    def test_answers_that_could_be_read_in_two_ways_are_refused(self):
        for head in [
            b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: 1\r\nTransfer-Encoding: chunked", b"Content-Length: +1", b"Content-Length: 1_0",
            b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b" Folded: x", b"No colon", b"Na me: x", b"A: b\rc",
        ]:
            with self.assertRaises(CaissonError, msg=head) as caught:
                Response("GET").feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
            self.assertEqual(caught.exception.code, "ANSWER_INVALID")

    def test_noise_is_an_answer_or_a_refusal_and_nothing_else(self):
        chance = random.Random(3)
        words = [b"HTTP/1.1 200 OK\r\n", b"\r\n", b"\r", b"\n", b"Content-Length: ", b"5", b"Transfer-Encoding: chunked\r\n", b"0", b"\0", b"\xff", b":", b"f" * 20]
        for _ in range(ROUNDS):
            answer = Response("GET")
            raw = b"HTTP/1.1 200 OK\r\n" * chance.randrange(2) + b"".join(chance.choice(words) for _ in range(chance.randrange(20)))
            try:
                for piece in pieces(raw, chance):
                    answer.feed(piece)
            except CaissonError as error:
                self.assertEqual(error.code, "ANSWER_INVALID")
        for endless in [b"x" * 100_000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000]:
            with self.assertRaises(CaissonError):
                Response("GET").feed(endless)

    def test_a_problem_that_cannot_be_read_is_an_error_all_the_same(self):
        for body in [b"", b"<html>", b"[]", b"[" * 100_000, b'{"code":"x y","detail":"d"}', b'{"code":1}', b"\xff"]:
            self.assertEqual(problem(502, body).code, "ANSWER_INVALID")
        error = problem(429, b'{"code":"RATE_LIMITED","detail":"slow","hint":"wait"}', "7")
        self.assertEqual((error.code, error.message, error.hint, error.status, error.retry_after_seconds), ("RATE_LIMITED", "slow", "wait", 429, 7.0))


class Requests(unittest.TestCase):
    def test_no_argument_can_become_a_header_or_another_path(self):
        chance = random.Random(4)
        where = connection(socket="/nowhere")
        letters = "a/.\\?#%&=\r\n :\0\té\u2028"
        for _ in range(ROUNDS):
            text = "".join(chance.choice(letters) for _ in range(chance.randrange(1, 8)))
            try:
                head, _, _ = head_of(Ask("GET", at("sandboxes", text, "usage"), {"path": text}), where)
            except CaissonError as error:
                self.assertEqual(error.code, "OPTIONS_INVALID")
                continue
            lines = head.split(b"\r\n")
            self.assertEqual([line.split(b":")[0] for line in lines[1:]], [b"Host", b"Accept", b"User-Agent", b"", b""])
            method, target, version = lines[0].split(b" ")
            path, _, query = target.partition(b"?")
            self.assertEqual((method, version, path.count(b"/"), query.count(b"&"), query.count(b"=")), (b"GET", b"HTTP/1.1", 4, 0, 1))
            self.assertNotIn(b"/../", path)

    def test_values_that_no_header_can_hold_are_refused(self):
        where = connection(socket="/nowhere")
        for value in ["a\r\nX: b", "a\n", "", " a", "a\0", "é" * 5 + "\r"]:
            with self.assertRaises(CaissonError, msg=repr(value)):
                head_of(Ask("GET", "/v1/x", headers={"If-Match": value}), where)
        for key in ["", "a\r\nb", "x" * 129, "é", " a", 3]:
            with self.assertRaises(CaissonError, msg=repr(key)):
                keyed(key)

    def test_where_it_connects_is_what_is_said_and_nothing_is_guessed(self):
        self.assertEqual(connection(env={"CAISSON_API_SOCKET": "/a", "CAISSON_API_URL": "http://h:1"}).socket_path, "/a")
        over = connection(env={"CAISSON_API_URL": "https://[::1]:8443/", "CAISSON_API_TOKEN": "t"})
        self.assertEqual((over.host, over.port, over.secure, over.token, over.host_header), ("::1", 8443, True, "t", "[::1]:8443"))
        self.assertNotIn("'t'", repr(over))
        for url in ["ftp://h", "http://h/x", "http://u@h", "http://", "http://h:99999", "http://h:1?x", "http://h h"]:
            with self.assertRaises(CaissonError, msg=url):
                connection(url=url, token="t")
        for token in [None, "", "a b", "a\r\n", "é"]:
            with self.assertRaises(CaissonError, msg=repr(token)):
                connection(url="http://h:1", token=token, env={})
        with self.assertRaises(CaissonError):
            connection(url="http://h:1", token="t", socket="/a")
        self.assertEqual(instance_socket({"CAISSON_DIR": "/var/lib/caisson"}, 0), f"/run/caisson/{instance_id('/var/lib/caisson')}/control/api.sock")
        self.assertEqual(instance_socket({"HOME": "/h"}, 7), f"/tmp/caisson-7/caisson/{instance_id('/h/.local/state/caisson')}/control/api.sock")


class Sessions(unittest.TestCase):
    def test_frames_are_found_between_prints_wherever_the_bytes_are_cut(self):
        chance = random.Random(5)
        mark = b"\x1e" + NONCE.encode()
        for _ in range(ROUNDS):
            raw, printed, sent = b"", b"", []
            for number in range(chance.randrange(5)):
                text = b"".join(chance.choice([b"a", b"\x1e", mark[:-1], mark[:5], b"\n", b"."]) for _ in range(chance.randrange(5)))
                if chance.random() < 0.5:
                    text += b"\x1e"
                printed += text
                message = {"id": number, "text": "é\x1e" * chance.randrange(5)}
                sent.append(message)
                body = json.dumps(message).encode()
                cut = chance.randrange(len(body))
                raw += text + mark + b"+%04x" % cut + body[:cut] + mark + b".%04x" % (len(body) - cut) + body[cut:]
            frames = Frames(NONCE)
            found = [part for piece in pieces(raw, chance) for part in frames.feed(piece)]
            self.assertEqual([part for part in found if isinstance(part, dict)], sent)
            self.assertEqual(b"".join(part for part in found if isinstance(part, bytes)) + frames.end(), printed)

    def test_a_frame_that_is_none_is_refused(self):
        mark = b"\x1e" + NONCE.encode()
        for tail in [b"*0001x", b".zzzzx", b".0001x", b".0002[]"]:
            with self.assertRaises(CaissonError, msg=tail):
                Frames(NONCE).feed(mark + tail)

    def test_lines_are_the_same_wherever_the_bytes_are_cut(self):
        chance = random.Random(6)
        for _ in range(500):
            text = "".join(chance.choice("aé\n\r") for _ in range(chance.randrange(30)))
            lines = Lines("stdout")
            found = [line for piece in pieces(text.encode(), chance) for line in lines.feed(Output("stdout", 0, piece))] + lines.end()
            self.assertEqual(found, text.split("\n")[:-1] + ([text.split("\n")[-1]] if not text.endswith("\n") and text else []))


if __name__ == "__main__":
    unittest.main()
