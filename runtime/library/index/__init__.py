"""An index of a library's vectors: the nearest of many, without looking at all of them.

It lies in the library's folder and is made by ``clap-export index``. ``document`` is what it says
of itself, ``engines`` how its candidates are asked for, ``candidates`` what is known of them, and
``opened`` whether it still is of the library.
"""
