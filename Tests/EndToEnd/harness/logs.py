"""The access log and the connection log of application load balancers, read back."""

import re

from harness.waiting import eventually

EXCHANGE = """type time elb client target request_processing_time target_processing_time response_processing_time
    elb_status_code target_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol target_group
    trace_id domain_name chosen_cert matched_rule_priority request_creation_time actions_executed redirect_url
    error_reason target_list target_status_code_list classification classification_reason conn_trace_id
    transformed_host transformed_uri request_transform_status listener_address""".split()
CONNECTION = """timestamp client_ip client_port listener_port tls_protocol tls_cipher tls_handshake_latency
    leaf_client_cert_subject leaf_client_cert_validity leaf_client_cert_serial_number tls_verify_status conn_trace_id
    tls_keyexchange elb listener_address""".split()


class Log:
    def __init__(self, path, fields=EXCHANGE):
        self.path, self.fields = str(path), fields

    def parse(self, line):
        values = re.findall(r'"[^"]*"|[^ ]+', line)
        assert " ".join(values) == line and len(values) == len(self.fields), line
        return dict(zip(self.fields, (value.strip('"') for value in values)))

    def lines(self):
        try:
            text = open(self.path).read()
        except FileNotFoundError:
            return []
        assert text == "" or text.endswith("\n"), "lines are whole"
        return [self.parse(line) for line in text.splitlines()]

    def wait(self, count):
        eventually(lambda: len(self.lines()) >= count, message=f"{count} lines in {self.path}")
        entries = self.lines()
        assert len(entries) == count, entries
        return entries

    def last(self, count):
        return self.wait(count)[-1]
