"""A small Flask app that says who it is."""

import json
import os
import platform

from flask import Flask, jsonify

app = Flask(__name__)
application = json.loads(os.environ.get("VCAP_APPLICATION", "{}"))


@app.get("/")
def index():
    return jsonify(
        app=application.get("application_name", "not on a platform"),
        instance_index=int(os.environ.get("CF_INSTANCE_INDEX", "0")),
        python=platform.python_version(),
        memory_limit=os.environ.get("MEMORY_LIMIT"),
    )


@app.get("/health")
def health():
    return jsonify(status="ok")


@app.get("/crash")
def crash():
    # The parent is gunicorn's master, which would only start another worker.
    os.kill(os.getppid(), 9)
    os._exit(1)
