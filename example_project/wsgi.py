"""The site for a WSGI server."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# So that one process serves all of the demo. A real site leaves static files to its web server.
application = StaticFilesHandler(get_wsgi_application())
