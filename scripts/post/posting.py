#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# (Debian's Python, whose packages scripts/conf/packages names)
"""
What scripts/post.sh needs to know of b4.yaml (which documents its keys), and of
mails. SERIES is one of b4.yaml.

	posting.py list			the series
	posting.py fields SERIES	three lines: prefixes, prerequisites and what
					these need, revision; of one that is to be posted
	posting.py not-posted SERIES	why it is not to be posted, if it is not
	posting.py recipients SERIES	who gets it, a line each
	posting.py cover SERIES		from a cover letter's headers and prose on
					stdin, one as b4 edits it
	posting.py tracking SERIES	b4's record of a series, JSON on stdin, with
					what b4.yaml says of earlier revisions
	posting.py mbox FILE MAIL...	check the mails, write them as one mbox and
					say whom they are to
"""

import email
import email.policy
import email.utils
import functools
import json
import os
import re
import sys

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TABLE = os.path.join(TOP, 'b4.yaml')

KEYS = {
	'change-id': str, 'revision': int,
	'prefixes': list, 'prerequisites': list, 'to': list, 'cc': list,
	'changes': dict, 'links': dict,
}
OPTIONAL = {'not-posted': str}
# RFC 5322's limit, and what fits a terminal. Code may be wider than prose.
LINE_MAX = 998
PROSE_MAX = 80


class PostingError(Exception):
	"""What is wrong, and what to do next."""


def no_duplicates(loader, node):
	"""YAML lets a later key replace an earlier one. That is a slip here."""
	keys = [loader.construct_object(key) for key, _ in node.value]
	for key in keys:
		if keys.count(key) > 1:
			raise yaml.constructor.ConstructorError(
				None, None, f'{key} is there twice', node.start_mark)
	return loader.construct_mapping(node, deep=True)


class Loader(yaml.SafeLoader):
	"""The safe loader, and strict about keys."""


Loader.add_constructor(
	yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, no_duplicates)


@functools.cache
def load():
	"""All of b4.yaml, by series."""
	try:
		with open(TABLE, encoding='utf-8') as table:
			return yaml.load(table, Loader) or {}
	except (OSError, yaml.YAMLError) as error:
		raise PostingError(f'b4.yaml can not be read: {error}',
				   'fix it') from error


def posting(name):
	"""What b4.yaml says of a series, checked."""
	entry = load().get(name)
	wrong = []
	if not isinstance(entry, dict):
		raise PostingError(f'b4.yaml has no series {name!r}',
				   f'one of: {", ".join(load())}; or give it an entry, as '
				   "the file's head says")
	for key, kind in KEYS.items():
		if not isinstance(entry.get(key), kind):
			wrong.append(f'{key} is not a {kind.__name__}')
	for key, kind in OPTIONAL.items():
		if key in entry and not (isinstance(entry[key], kind) and entry[key]):
			wrong.append(f'{key} is not a {kind.__name__}, or empty')
	wrong += [f'{key} is no key' for key in entry if key not in {**KEYS, **OPTIONAL}]
	if not wrong:
		for addr in entry['to'] + entry['cc']:
			if not re.fullmatch(r'[^@\s]+@[^@\s]+',
					    email.utils.parseaddr(addr)[1]):
				wrong.append(f'{addr!r} is no address')
		if not entry['to']:
			wrong.append('nobody is in to')
		for new in range(2, entry['revision'] + 1):
			if not entry['changes'].get(f'v{new}'):
				wrong.append(f'changes does not say what is new in v{new}')
			if f'v{new - 1}' not in entry['links']:
				wrong.append(f'links does not say where v{new - 1} is')
	if wrong:
		raise PostingError(f'b4.yaml, {name}: {"; ".join(wrong)}',
				   'fix it; the top of the file says what each key is')
	return entry


def needed(name):
	"""The series that one needs, and those that these need, each once."""
	names = [name]
	for other in names:
		names += [new for new in posting(other)['prerequisites'] if new not in names]
	return names[1:]


def show_fields(name):
	"""One field a line, those that may be empty first."""
	entry = posting(name)
	if 'not-posted' in entry:
		raise PostingError(f'SERIES={name} is not to be posted: {entry["not-posted"]}',
				   'if that has changed, remove not-posted from its entry in b4.yaml')
	print(*entry['prefixes'])
	print(*needed(name))
	print(entry['revision'])


def show_not_posted(name):
	"""Nothing of a series that is to be posted"""
	if reason := posting(name).get('not-posted'):
		print(reason)


def show_recipients(name):
	"""To and Cc"""
	entry = posting(name)
	print(*entry['to'], *entry['cc'], sep='\n')


def show_cover(name):
	"""Subject, prose, To and Cc as trailers, and below a --- the changes."""
	entry = posting(name)
	mail = email.message_from_binary_file(
		sys.stdin.buffer, policy=email.policy.default)
	body = mail.get_payload(decode=True).decode().strip()
	for line in body.splitlines():
		# b4 takes the one for a comment and the other for an end.
		if line.startswith('#') or line in ('---', '-- '):
			raise PostingError(
				f'the cover letter of {name} has the line {line!r}, which b4 would drop or cut at',
				f'fix patches/{name}/0000-cover-letter.patch')
	if '*** ' in mail['subject']:
		raise PostingError(f'the cover letter of {name} has no subject yet',
				   f'write patches/{name}/0000-cover-letter.patch')
	print(re.sub(r'^\[[^]]*\]\s*', '', mail['subject']), body, sep='\n\n')
	print()
	for key in 'to', 'cc':
		for addr in entry[key]:
			print(f'{key.title()}: {addr}')
	if entry['revision'] > 1:
		print('\n---')
	for new in range(entry['revision'], 1, -1):
		print(f'Changes in v{new}:')
		for change in entry['changes'][f'v{new}']:
			print('-', change.strip().replace('\n', '\n  '))
		print(f'- Link to v{new - 1}:', entry['links'][f'v{new - 1}'])
		print()


def show_tracking(name):
	"""b4 makes a new change-id at each enrolment, and has no history then."""
	entry = posting(name)
	tracking = json.load(sys.stdin)
	tracking['series']['change-id'] = entry['change-id']
	tracking['series']['history'] = {
		version: [link.rstrip('/').rsplit('/', 1)[1]]
		for version, link in entry['links'].items()}
	print(json.dumps(tracking))


def prose_of(text):
	"""What stands above the first ---, but for what must not be wrapped."""
	for line in text.split('\n---\n', 1)[0].splitlines():
		if not re.match(r'([A-Z]\w+(-\w+)*-by|From|Fixes|Link|Closes|Cc): |.*\bhttps?://', line):
			yield line


def check_mail(path, mail, raw):
	"""What is wrong with a mail, a line each."""
	name = os.path.basename(path)
	for number, line in enumerate(raw.split(b'\n'), 1):
		if len(line) > LINE_MAX:
			yield f'{name}:{number}: a line of {len(line)} bytes'
		# Mail software alters it, or takes it for the next mail.
		if line.startswith(b'From '):
			yield f'{name}:{number}: a line that starts with "From "'
	for line in prose_of(mail.get_payload(decode=True).decode()):
		if len(line.expandtabs()) > PROSE_MAX:
			yield f'{name}: wider than {PROSE_MAX} columns: {line}'


def write_mbox(out, paths):
	"""The mails in their order, which that of their names is."""
	wrong = []
	recipients = {'To': {}, 'Cc': {}}
	mails = []
	for path in sorted(paths):
		with open(path, 'rb') as file:
			raw = file.read()
		mail = email.message_from_bytes(raw, policy=email.policy.default)
		wrong += check_mail(path, mail, raw)
		mails.append(raw)
		for field, known in recipients.items():
			for name, addr in email.utils.getaddresses(
					map(str, mail.get_all(field, []))):
				known.setdefault(addr, f'{name} <{addr}>' if name else addr)
		print('      ', mail['subject'])
		if b'\n[Sender: ' in raw:
			print('        not to be sent as it is: "[Sender: ...]" in it is yours to replace')
	if wrong:
		raise PostingError('the mails of the series are not fit to be sent:\n'
				   + '\n'.join(wrong), 'fix the patches')
	with open(out, 'wb') as mbox:
		for raw in mails:
			# A folded subject is right, but b4 0.12 fails on one in an mbox.
			raw = re.sub(rb'^Subject: .*(\n[ \t].*)*',
				     lambda found: found[0].replace(b'\n', b''),
				     raw, count=1, flags=re.M)
			mbox.write(b'From git@z Thu Jan  1 00:00:00 1970\n')
			mbox.write(raw.rstrip(b'\n') + b'\n\n')
	for field, known in recipients.items():
		for addr, full in known.items():
			if field == 'To' or addr not in recipients['To']:
				print(f'        {field}: {full}')


def main(argv):
	"""Do what the first argument says."""
	if argv[1:2] in (['-h'], ['--help']):
		print(__doc__.strip())
		return
	commands = {
		'list': lambda: print(*load(), sep='\n'), 'fields': show_fields,
		'not-posted': show_not_posted, 'recipients': show_recipients,
		'cover': show_cover, 'tracking': show_tracking,
		'mbox': lambda out, *paths: write_mbox(out, paths),
	}
	try:
		commands[argv[1]](*argv[2:])
	except PostingError as error:
		print(f'error: {error.args[0]}\n next: {error.args[1]}', file=sys.stderr)
		sys.exit(1)


if __name__ == '__main__':
	main(sys.argv)
